import { describe, expect, it } from "vitest";
import { addressOf, parseIpAddress } from "./address.ts";
import { FakeWorld } from "./fake-world.ts";
import { UdpForwards } from "./udp-forwards.ts";
import type { HostUdp } from "./world.ts";

const GUEST = { address: parseIpAddress("10.0.2.15")!, port: 53 };

function forwardOf(sent: string[], name = ""): { readonly socket: HostUdp; readonly guest: typeof GUEST } {
  const socket: HostUdp = {
    send: (address, port, data) => void sent.push(`${name}${address.charCodeAt(3)}:${port} ${data.length}`),
    close: () => {},
  };
  return { socket, guest: GUEST };
}

describe("forwarded datagrams", () => {
  it("have a port of the gateway for each peer, which an answer finds, of that port of the guest only", () => {
    const forwards = new UdpForwards(new FakeWorld());
    const sent: string[] = [];
    const [one, two] = [forwardOf(sent, "one "), forwardOf(sent, "two ")];
    const peer = { address: addressOf(127, 0, 0, 1), port: 4000 };
    const other = { address: addressOf(127, 0, 0, 9), port: 4000 };
    const ports = [forwards.portOf(one, peer), forwards.portOf(one, other), forwards.portOf(two, peer)];
    expect(new Set(ports).size).toBe(3);
    expect(forwards.portOf(one, peer)).toBe(ports[0]);
    for (const port of ports) expect(forwards.answer(GUEST, port, new Uint8Array(5))).toBe(true);
    expect(sent).toEqual(["one 1:4000 5", "one 9:4000 5", "two 1:4000 5"]);
    expect(forwards.answer({ ...GUEST, port: 54 }, ports[0]!, new Uint8Array(5))).toBe(false);
    expect(forwards.answer({ ...GUEST, address: peer.address }, ports[0]!, new Uint8Array(5))).toBe(false);
    expect(forwards.answer(GUEST, 50_000, new Uint8Array(5))).toBe(false);
  });

  it("are of so many peers; those that are idle give way first", () => {
    const world = new FakeWorld();
    const forwards = new UdpForwards(world);
    const forward = forwardOf([]);
    const peer = (i: number) => ({ address: addressOf(127, 0, i >> 8, i & 255), port: 7 });
    const first = forwards.portOf(forward, peer(0));
    for (let i = 1; i < 20_000; i++) {
      forwards.portOf(forward, peer(i));
      if (i % 1000 === 0) expect(forwards.portOf(forward, peer(0)), `at ${i}`).toBe(first);
    }
    expect(forwards.count).toBe(1024);
    world.advance(121_000);
    forwards.portOf(forward, peer(30_000));
    expect(forwards.count).toBe(1);
  });
});
