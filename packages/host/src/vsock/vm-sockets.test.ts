import type { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import {
  decodeVsockHeader,
  encodePacketMessage,
  encodeVsockPacket,
  VSOCK_HEADER_BYTES,
  VSOCK_OP,
  VSOCK_WINDOW_BYTES,
  type VsockHeader,
} from "@twinmetal/core";
import { describe, expect, it } from "vitest";
import { SocketsOfVm } from "./vm-sockets.ts";
import { VSOCK_BUFFER_BYTES } from "./vsock-stream.ts";

const CID = 9;
type Packet = VsockHeader & { readonly data: Uint8Array };

function setUp(guestCid: number | undefined = CID) {
  const packets: Packet[] = [];
  const sockets = new SocketsOfVm({
    guestCid,
    send: (_channel, bytes) => {
      const packet = bytes.subarray(5);
      packets.push({ ...decodeVsockHeader(packet), data: packet.slice(VSOCK_HEADER_BYTES) });
    },
    ended: () => undefined,
  });
  const guest = (op: number, changes: Partial<VsockHeader> = {}, data?: Uint8Array): void => {
    const header = {
      srcCid: CID,
      dstCid: 2,
      srcPort: 50,
      dstPort: 60,
      type: 1,
      op,
      flags: 0,
      bufAlloc: 1000,
      fwdCnt: 0,
    };
    sockets.receive(encodePacketMessage(encodeVsockPacket({ ...header, ...changes }, data)));
  };
  /** What the device does with packets: their room comes back. */
  const free = (bytes: number): void => {
    const credit = new Uint8Array(5);
    credit[0] = 2;
    new DataView(credit.buffer).setUint32(1, bytes, true);
    sockets.receive(credit);
  };
  const ops = (): number[] => packets.splice(0).map(({ op }) => op);
  const accepted = (): Duplex => {
    let stream: Duplex | undefined;
    sockets.listen(60, (connection) => {
      stream = connection;
    });
    guest(VSOCK_OP.REQUEST);
    return stream!;
  };
  return { sockets, packets, guest, free, ops, accepted };
}

const soon = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const bytes = (length: number): Uint8Array => new Uint8Array(length).fill(7);

describe("connections to the guest", () => {
  it("are made, or refused, or too late", async () => {
    const { sockets, packets, guest } = setUp();
    const connected = sockets.connect(50);
    const { srcPort, op } = packets.shift()!;
    expect(op).toBe(VSOCK_OP.REQUEST);
    guest(VSOCK_OP.RESPONSE, { dstPort: srcPort });
    const stream = await connected;
    guest(VSOCK_OP.RW, { dstPort: srcPort }, new TextEncoder().encode("hello"));
    guest(VSOCK_OP.SHUTDOWN, { dstPort: srcPort, flags: 3 });
    expect(await text(stream)).toBe("hello");
    const refused = sockets.connect(50);
    guest(VSOCK_OP.RST, { dstPort: packets.at(-1)!.srcPort });
    await expect(refused).rejects.toMatchObject({ code: "refused" });
    await expect(sockets.connect(50, { timeoutMs: 5 })).rejects.toMatchObject({ code: "timeout" });
    await expect(sockets.connect(2 ** 32)).rejects.toMatchObject({ code: "bad-option" });
  });

  it("are refused where the VM has no device", async () => {
    const sockets = new SocketsOfVm({ guestCid: undefined, send: () => {}, ended: () => undefined });
    await expect(sockets.connect(1)).rejects.toMatchObject({ code: "no-vsock" });
  });
});

describe("credit", () => {
  it("is kept: no more than the guest has room for, and the rest when it has", async () => {
    const { accepted, packets, guest, ops } = setUp();
    const stream = accepted();
    expect(ops()).toEqual([VSOCK_OP.RESPONSE]);
    stream.write(bytes(1500));
    expect(packets.map(({ op, length }) => [op, length])).toEqual([[VSOCK_OP.RW, 1000]]);
    guest(VSOCK_OP.CREDIT_UPDATE, { fwdCnt: 1000 });
    expect(packets.map(({ length }) => length)).toEqual([1000, 500]);
  });

  it("is given when somebody reads, and a guest that takes more is cut off", async () => {
    const { accepted, guest, ops, packets } = setUp();
    const stream = accepted();
    ops();
    for (let i = 0; i < 4; i++) guest(VSOCK_OP.RW, {}, bytes(VSOCK_BUFFER_BYTES / 4));
    expect(ops()).toEqual([]);
    expect(stream.read()).toHaveLength(VSOCK_BUFFER_BYTES);
    expect(packets.map(({ op, fwdCnt }) => [op, fwdCnt])).toEqual([[VSOCK_OP.CREDIT_UPDATE, VSOCK_BUFFER_BYTES]]);
    ops();
    for (let i = 0; i < 5; i++) guest(VSOCK_OP.RW, {}, bytes(VSOCK_BUFFER_BYTES / 4));
    expect(ops()).toEqual([VSOCK_OP.RST]);
    await soon();
    expect(stream.destroyed).toBe(true);
  });

  it("holds the way to the guest free for answers", async () => {
    const { accepted, guest, packets, free } = setUp();
    const stream = accepted();
    guest(VSOCK_OP.CREDIT_UPDATE, { bufAlloc: 0xffff_ffff });
    stream.write(bytes(2 * VSOCK_WINDOW_BYTES));
    const sent = packets.reduce((sum, { length }) => sum + length + VSOCK_HEADER_BYTES, 0);
    expect(sent).toBeLessThan(VSOCK_WINDOW_BYTES);
    guest(VSOCK_OP.CREDIT_REQUEST, { bufAlloc: 0xffff_ffff });
    expect(packets.at(-1)!.op).toBe(VSOCK_OP.CREDIT_UPDATE);
    const before = packets.length;
    free(100_000);
    expect(packets.length).toBeGreaterThan(before);
  });
});

describe("hostile guests", () => {
  it("answers to nobody are bounded, and connections too", () => {
    const { sockets, guest, packets, free } = setUp();
    for (let port = 0; port < 20_000; port++) guest(VSOCK_OP.RW, { srcPort: port });
    for (let i = 0; i < 100; i++) free(VSOCK_WINDOW_BYTES);
    expect(packets.length).toBeLessThan(8000);
    packets.length = 0;
    sockets.listen(60, () => {});
    for (let port = 0; port < 300; port++) guest(VSOCK_OP.REQUEST, { srcPort: port });
    const accepted = packets.filter(({ op }) => op === VSOCK_OP.RESPONSE).length;
    expect([accepted, packets.length]).toEqual([256, 300]);
  });

  it("data after the end, other types and unknown operations end the connection or nothing", async () => {
    const { accepted, guest, ops } = setUp();
    const stream = accepted();
    stream.resume();
    guest(VSOCK_OP.SHUTDOWN, { flags: 2 });
    guest(VSOCK_OP.RW, {}, bytes(3));
    guest(77);
    guest(VSOCK_OP.RW, { type: 2 });
    guest(VSOCK_OP.RST);
    await soon();
    expect(ops().filter((op) => op === VSOCK_OP.RST).length).toBeGreaterThanOrEqual(2);
    expect(stream.destroyed).toBe(true);
  });
});

it("a new driver, or the guest's end, closes everything", async () => {
  const { accepted, sockets } = setUp();
  const stream = accepted();
  const closed = new Promise((resolve) => stream.once("close", resolve));
  sockets.receive(Uint8Array.of(3));
  await closed;
  const waiting = sockets.connect(5);
  sockets.end("off");
  await expect(waiting).rejects.toMatchObject({ code: "guest-ended" });
});
