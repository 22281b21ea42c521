import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { formatIpAddress, type StreamEvents } from "@twinmetal/network";
import { afterEach, describe, expect, it } from "vitest";
import { hostNetworks, SocketStream } from "./node-network-world.ts";

let server: Server | undefined;
afterEach(() => {
  server?.close();
});

async function connected(): Promise<{ ours: Socket; theirs: Socket }> {
  server = createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const accepted = once(server, "connection");
  const ours = connect({ host: "127.0.0.1", port: (server.address() as { port: number }).port, allowHalfOpen: true });
  await once(ours, "connect");
  const [theirs] = (await accepted) as [Socket];
  return { ours, theirs };
}

describe("a socket as a stream", () => {
  it("puts small pieces together behind a peer that does not take them, and loses none", async () => {
    const { ours, theirs } = await connected();
    let [writes, drained] = [0, 0];
    const write = ours.write.bind(ours) as (bytes: Uint8Array, written: () => void) => boolean;
    ours.write = ((bytes: Uint8Array, written: () => void) => {
      writes++;
      return write(bytes, written);
    }) as typeof ours.write;
    const events: StreamEvents = { opened() {}, data() {}, ended() {}, drained: () => void drained++, failed() {} };
    const stream = new SocketStream(ours, events);
    const sent: Buffer[] = [];
    const say = (bytes: Buffer): void => {
      sent.push(bytes);
      stream.write(bytes);
    };
    // More than the host's system takes.
    for (let i = 0; i < 16; i++) say(Buffer.alloc(1 << 20, i));
    const before = writes;
    for (let i = 0; i < 100_000; i++) say(Buffer.of(i));
    say(Buffer.alloc(2000, 1));
    for (let i = 0; i < 10; i++) say(Buffer.of(i));
    expect(writes - before).toBeLessThan(40);
    expect(stream.pendingBytes).toBeGreaterThan(102_000);
    stream.end();
    const received: Buffer[] = [];
    theirs.on("data", (bytes: Buffer) => void received.push(bytes));
    theirs.resume();
    await once(theirs, "end");
    expect(Buffer.compare(Buffer.concat(received), Buffer.concat(sent))).toBe(0);
    expect([stream.pendingBytes, drained > 0]).toEqual([0, true]);
    stream.destroy();
    theirs.destroy();
  });

  it("takes small pieces to a peer that is gone without a word", async () => {
    const { ours, theirs } = await connected();
    const failures: string[] = [];
    const ignored = { opened() {}, data() {}, ended() {}, drained() {} };
    const stream = new SocketStream(ours, { ...ignored, failed: (why) => void failures.push(why) });
    stream.write(new Uint8Array(8 << 20));
    for (let i = 0; i < 10; i++) stream.write(Uint8Array.of(i));
    theirs.resetAndDestroy();
    await new Promise((resolve) => ours.on("close", resolve));
    stream.write(Uint8Array.of(1));
    stream.end();
    expect(failures).toEqual(["reset"]);
    stream.destroy();
  });
});

it("the host's networks have its own addresses in them", () => {
  const texts = hostNetworks().map(({ address, length }) => `${formatIpAddress(address)}/${length}`);
  expect(texts).toContain("127.0.0.1/8");
});
