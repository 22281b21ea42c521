/**
 * A DHCP server (RFC 2131, RFC 2132) that knows its leases beforehand: the address goes by the order in which cards ask, and
 * a lease is for good as long as the network lives. A client that renews one of a network that was there before (its VM was
 * restored, or has moved) keeps its address. GUEST-CONTROLLED: every byte of a request.
 */
import { addressAt, addressOf, type IpAddress, putAddress } from "./address.ts";
import { type MacAddress, macAt } from "./ethernet.ts";
import { putU32 } from "./ip/packet.ts";

export const DHCP_SERVER_PORT = 67;
export const DHCP_CLIENT_PORT = 68;
const UNSPECIFIED = addressOf(0, 0, 0, 0);
const FIXED_BYTES = 236;
const COOKIE = [0x63, 0x82, 0x53, 0x63];
/** BOOTP's least length: old clients drop shorter ones. */
const LEAST_BYTES = 300;
const MESSAGE = { DISCOVER: 1, OFFER: 2, REQUEST: 3, ACK: 5, NAK: 6, INFORM: 8 } as const;
const OPTION = {
  MASK: 1,
  ROUTER: 3,
  DNS: 6,
  HOST_NAME: 12,
  MTU: 26,
  REQUESTED_ADDRESS: 50,
  LEASE_TIME: 51,
  MESSAGE_TYPE: 53,
  SERVER: 54,
  TFTP_SERVER: 66,
  BOOT_FILE: 67,
  END: 255,
} as const;
const LEASE_SECONDS = 86_400;

export interface DhcpConfiguration {
  readonly server: IpAddress;
  readonly mask: IpAddress;
  readonly router: IpAddress;
  readonly dns: IpAddress;
  readonly mtu: number;
  readonly hostName?: string;
  /** For PXE: what the TFTP server, which is `server`, has. */
  readonly bootFile?: string;
  /** Undefined: no address is left for this card. `current`: what it has now, as it says. */
  readonly addressFor: (mac: MacAddress, current: IpAddress | undefined) => IpAddress | undefined;
}

export interface DhcpReply {
  readonly message: Uint8Array;
  /** The address that the client has now; undefined: none. */
  readonly leased?: IpAddress;
}

interface Request {
  readonly bytes: Uint8Array;
  readonly type: number;
  readonly mac: MacAddress;
  readonly options: ReadonlyMap<number, Uint8Array>;
}

/** The answer to a client's message; undefined: none is due. */
export function answerDhcp(bytes: Uint8Array, configuration: DhcpConfiguration): DhcpReply | undefined {
  const request = parse(bytes);
  if (!request) return undefined;
  const current = addressAt(bytes, 12, 4);
  const address = configuration.addressFor(request.mac, current === UNSPECIFIED ? undefined : current);
  const other = request.options.get(OPTION.SERVER);
  if (other?.length === 4 && addressAt(other, 0, 4) !== configuration.server) return undefined;
  switch (request.type) {
    case MESSAGE.DISCOVER:
      return address && { message: reply(request, MESSAGE.OFFER, address, configuration) };
    case MESSAGE.REQUEST: {
      const option = request.options.get(OPTION.REQUESTED_ADDRESS);
      const wanted = option?.length === 4 ? addressAt(option, 0, 4) : current;
      if (address === undefined || wanted !== address) {
        return { message: reply(request, MESSAGE.NAK, undefined, configuration) };
      }
      return { message: reply(request, MESSAGE.ACK, address, configuration), leased: address };
    }
    case MESSAGE.INFORM:
      return { message: reply(request, MESSAGE.ACK, undefined, configuration) };
    default:
      return undefined;
  }
}

function parse(bytes: Uint8Array): Request | undefined {
  const isRequest = bytes.length >= FIXED_BYTES + 4 && bytes[0] === 1 && bytes[1] === 1 && bytes[2] === 6;
  if (!isRequest || !COOKIE.every((byte, i) => bytes[FIXED_BYTES + i] === byte)) return undefined;
  const options = new Map<number, Uint8Array>();
  for (let at = FIXED_BYTES + 4; at < bytes.length && bytes[at] !== OPTION.END; ) {
    const code = bytes[at]!;
    if (code === 0) {
      at++;
      continue;
    }
    const end = at + 2 + (bytes[at + 1] ?? 0);
    if (end > bytes.length) break;
    options.set(code, bytes.subarray(at + 2, end));
    at = end;
  }
  const type = options.get(OPTION.MESSAGE_TYPE)?.[0];
  return type === undefined ? undefined : { bytes, type, mac: macAt(bytes, 28), options };
}

function reply(request: Request, type: number, address: IpAddress | undefined, given: DhcpConfiguration): Uint8Array {
  const options: number[] = [...COOKIE, OPTION.MESSAGE_TYPE, 1, type, ...option(OPTION.SERVER, raw(given.server))];
  if (type !== MESSAGE.NAK) {
    options.push(...option(OPTION.MASK, raw(given.mask)), ...option(OPTION.ROUTER, raw(given.router)));
    options.push(...option(OPTION.DNS, raw(given.dns)), ...option(OPTION.MTU, [given.mtu >> 8, given.mtu & 0xff]));
    if (request.type !== MESSAGE.INFORM) {
      const seconds = new Uint8Array(4);
      putU32(seconds, 0, LEASE_SECONDS);
      options.push(...option(OPTION.LEASE_TIME, [...seconds]));
    }
    if (given.hostName) options.push(...option(OPTION.HOST_NAME, text(given.hostName)));
    if (given.bootFile) {
      options.push(...option(OPTION.TFTP_SERVER, text([...given.server].map((byte) => byte.charCodeAt(0)).join("."))));
      options.push(...option(OPTION.BOOT_FILE, text(given.bootFile)));
    }
  }
  options.push(OPTION.END);
  const message = new Uint8Array(Math.max(LEAST_BYTES, FIXED_BYTES + options.length));
  message.set(request.bytes.subarray(0, 44)); // Hardware type, xid, flags, relay and hardware address are the client's.
  message[0] = 2;
  message[3] = 0;
  message.fill(0, 8, 10);
  message.fill(0, 12, 24);
  if (type === MESSAGE.NAK) message.fill(0, 24, 28);
  if (request.type === MESSAGE.INFORM) message.set(request.bytes.subarray(12, 16), 12);
  if (address !== undefined) putAddress(message, 16, address);
  if (given.bootFile && type !== MESSAGE.NAK) {
    putAddress(message, 20, given.server);
    message.set(text(given.bootFile).slice(0, 127), 108);
  }
  message.set(options, FIXED_BYTES);
  return message;
}

function raw(address: IpAddress): number[] {
  return [...address].map((byte) => byte.charCodeAt(0));
}

function text(value: string): number[] {
  return [...new TextEncoder().encode(value)].slice(0, 255);
}

function option(code: number, value: readonly number[]): number[] {
  return [code, value.length, ...value];
}
