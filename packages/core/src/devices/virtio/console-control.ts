/**
 * The two small languages of a console port's control side.
 *
 * With the guest: struct virtio_console_control on the control queues (virtio 1.2, 5.3.6.2), little-endian id, event
 * and value, then a size or a name.
 *
 * With the back-end: messages on the channel "NAME.ctl", so that they go through the event log like data.
 *   to the port      OPEN 01 | CLOSE 02 | RESIZE 03 columns:u16 rows:u16 | DISCARD 04 | STOP 05 | GO 06   any number
 *   from the port    GUEST_OPEN 01 | GUEST_CLOSE 02 | CREDIT 03 bytes:u32 | DROPPED 04 bytes:u32          one at a time
 * Numbers are little-endian. CREDIT frees that much of the port's window of CONSOLE_WINDOW_BYTES; the back-end sends
 * no more than the window has left. DROPPED counts bytes that were sent beyond it, and are lost. DISCARD drops what the
 * guest has not taken yet (and gives credit for it). Between STOP and GO the guest's bytes stay in its buffers: a
 * program that writes waits.
 */

export const CONTROL_EVENT = {
  DEVICE_READY: 0,
  DEVICE_ADD: 1,
  DEVICE_REMOVE: 2,
  PORT_READY: 3,
  CONSOLE_PORT: 4,
  RESIZE: 5,
  PORT_OPEN: 6,
  PORT_NAME: 7,
} as const;

export const CONTROL_BYTES = 8;

export interface ControlMessage {
  readonly port: number;
  readonly event: number;
  readonly value: number;
}

export function encodeControl(message: ControlMessage, payload: Uint8Array = new Uint8Array(0)): Uint8Array {
  const bytes = new Uint8Array(CONTROL_BYTES + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, message.port, true);
  view.setUint16(4, message.event, true);
  view.setUint16(6, message.value, true);
  bytes.set(payload, CONTROL_BYTES);
  return bytes;
}

/** Precondition: at least CONTROL_BYTES bytes. */
export function decodeControl(bytes: Uint8Array): ControlMessage {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { port: view.getUint32(0, true), event: view.getUint16(4, true), value: view.getUint16(6, true) };
}

/** Columns first, as the specification has it; Linux before 6.15 reads rows first. */
export function encodeSize(columns: number, rows: number): Uint8Array {
  const bytes = new Uint8Array(4);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, columns, true);
  view.setUint16(2, rows, true);
  return bytes;
}

const PLAIN_COMMANDS = { open: 1, close: 2, discard: 4, stop: 5, go: 6 } as const;
const RESIZE = 3;

export type PortCommand =
  | { readonly kind: keyof typeof PLAIN_COMMANDS }
  | { readonly kind: "resize"; readonly columns: number; readonly rows: number };

export function encodePortCommand(command: PortCommand): Uint8Array {
  if (command.kind === "resize") return Uint8Array.of(RESIZE, ...encodeSize(command.columns, command.rows));
  return Uint8Array.of(PLAIN_COMMANDS[command.kind]);
}

/** Stops at the first thing it does not know. */
export function decodePortCommands(bytes: Uint8Array): PortCommand[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kinds = Object.keys(PLAIN_COMMANDS) as (keyof typeof PLAIN_COMMANDS)[];
  const commands: PortCommand[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (bytes[at] === RESIZE) {
      if (at + 5 > bytes.length) break;
      commands.push({ kind: "resize", columns: view.getUint16(at + 1, true), rows: view.getUint16(at + 3, true) });
      at += 5;
      continue;
    }
    const kind = kinds.find((candidate) => PLAIN_COMMANDS[candidate] === bytes[at]);
    if (!kind) break;
    commands.push({ kind });
    at++;
  }
  return commands;
}

export type PortReport =
  | { readonly kind: "guest-open" }
  | { readonly kind: "guest-close" }
  | { readonly kind: "credit"; readonly bytes: number }
  | { readonly kind: "dropped"; readonly bytes: number };

const REPORT_KINDS = ["guest-open", "guest-close", "credit", "dropped"] as const;

export function encodePortReport(report: PortReport): Uint8Array {
  const code = REPORT_KINDS.indexOf(report.kind) + 1;
  if (!("bytes" in report)) return Uint8Array.of(code);
  const bytes = new Uint8Array(5);
  bytes[0] = code;
  new DataView(bytes.buffer).setUint32(1, report.bytes, true);
  return bytes;
}

/** For back-ends; undefined if it is none. */
export function decodePortReport(bytes: Uint8Array): PortReport | undefined {
  const kind = REPORT_KINDS[(bytes[0] ?? 0) - 1];
  if (kind === "guest-open" || kind === "guest-close") return { kind };
  if (kind === undefined || bytes.length < 5) return undefined;
  return { kind, bytes: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(1, true) };
}
