import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import type { NetworkOptions } from "./network-protocol.ts";
import { UserLink } from "./user-link.ts";

const ETHERTYPE_IPV4 = 0x0800;
const [IP, UDP] = [14, 34];
/** Who has 10.0.2.2? Tell 10.0.2.15. */
const ARP = Buffer.from("ffffffffffff0200000000010806000108000604000102000000000f0a00020f0000000000000a000202", "hex");

let link: UserLink | undefined;
const sockets: Socket[] = [];
afterEach(() => {
  link?.close();
  link = undefined;
  for (const socket of sockets.splice(0)) socket.close();
});

/** A guest that sends every datagram back: swapped addresses and ports leave its checksums right. */
async function echoingGuest(options: Omit<NetworkOptions, "to">): Promise<void> {
  link = await UserLink.open(
    { to: "user", ...options },
    {
      deliver: (frame) => {
        const bytes = Buffer.from(frame);
        if (bytes.readUInt16BE(12) !== ETHERTYPE_IPV4 || bytes[IP + 9] !== 17) return true;
        const answer = Buffer.from(bytes);
        for (const [at, length] of [
          [0, 6],
          [IP + 12, 4],
          [UDP, 2],
        ] as const) {
          bytes.copy(answer, at, at + length, at + 2 * length);
          bytes.copy(answer, at + length, at, at + length);
        }
        setImmediate(() => link?.send(answer, false));
        return true;
      },
      hasRoom: () => true,
      takeOffloads: () => {},
      takesLarge: () => false,
      problem: () => {},
      setUp: () => {},
      ready: () => {},
    },
  );
  link.send(ARP, false);
}

async function socketAt(port = 0): Promise<Socket> {
  const socket = createSocket("udp4").bind(port, "127.0.0.1");
  sockets.push(socket);
  await once(socket, "listening");
  return socket;
}

async function freePort(): Promise<number> {
  const socket = await socketAt();
  const { port } = socket.address();
  sockets.splice(sockets.indexOf(socket), 1);
  socket.close();
  await once(socket, "close");
  return port;
}

describe("a forwarded port for datagrams", () => {
  it("leads to the guest, each peer getting its own answers", async () => {
    const hostPort = await freePort();
    await echoingGuest({ forwards: [{ protocol: "udp", hostPort, guestPort: 53 }] });
    const peers = await Promise.all([socketAt(), socketAt(), socketAt()]);
    const answers = peers.map((peer) => once(peer, "message"));
    for (const [i, peer] of peers.entries()) peer.send(`from ${i}`, hostPort, "127.0.0.1");
    const received = (await Promise.all(answers)).map(([data]) => String(data));
    expect(received).toEqual(["from 0", "from 1", "from 2"]);
  });

  it("is refused where somebody else has it, and what was opened before is closed", async () => {
    const { port } = (await socketAt()).address();
    const hostPort = await freePort();
    const forwards = [hostPort, port].map((own) => ({ protocol: "udp" as const, hostPort: own, guestPort: 53 }));
    await expect(echoingGuest({ forwards })).rejects.toMatchObject({
      code: "network-socket",
      message: `UDP port ${port} of 127.0.0.1 cannot lead to the guest's port 53: somebody else uses it. Give another port in --forward.`,
    });
    await socketAt(hostPort);
  });
});
