import { describe, expect, it } from "vitest";
import { networkOptionsText, networksOf, networkText, parseForward, parseNetwork } from "./network-choice.ts";

const both = <Limits>(limits: Limits): { toGuest: Limits; fromGuest: Limits } => ({
  toGuest: limits,
  fromGuest: limits,
});

describe("--net", () => {
  it.each([
    ["loopback", { to: "loopback" }],
    ["socket=/run/a.sock", { to: "socket", path: "/run/a.sock" }],
    ["socket=a,b.sock,mtu=9000", { to: "socket", path: "a,b.sock", mtu: 9000 }],
    ["socket=a=b,model=virtio", { to: "socket", path: "a=b", model: "virtio" }],
    ["loopback,mac=52:54:00:AB:cd:01", { to: "loopback", mac: "52:54:00:ab:cd:01" }],
    ["switch=lab", { to: "switch", name: "lab" }],
    ["switch=lab,mac=52:54:00:00:00:01", { to: "switch", name: "lab", mac: "52:54:00:00:00:01" }],
    ["user", { to: "user" }],
    ["user,tftp=/srv/a=b,bootfile=boot.ipxe", { to: "user", tftp: "/srv/a=b", bootFile: "boot.ipxe" }],
    ["user,mtu=9000", { to: "user", mtu: 9000 }],
    ["user,latency=50,loss=7%", { to: "user", limits: both({ latencyMs: 50, loss: 0.07 }) }],
    [
      "socket=a,mtu=1400,rate=1M,burst=64K,latency=20.5,jitter=5",
      {
        to: "socket",
        path: "a",
        mtu: 1400,
        limits: both({ bytesPerSecond: 2 ** 20, burstBytes: 65_536, latencyMs: 20.5, jitterMs: 5 }),
      },
    ],
    ["none", undefined],
  ])("reads %s", (text, expected) => {
    expect(parseNetwork(text)).toEqual(expected);
    if (expected) expect(parseNetwork(networkText(parseNetwork(text)!))).toEqual(expected);
  });

  it.each([
    ["socket", /is no network/],
    ["tap=tap0", /not in this version yet/],
    ["switch", /is no network/],
    ["loopback,mac=01:00:00:00:00:01", /no network card's address/],
    ["loopback,mtu=20", /no MTU/],
    ["loopback,model=rtl8139", /no network card "rtl8139"/],
    ["loopback,speed=3", /nothing that a network card has/],
    ["none,mtu=1500", /leave the rest out/],
    ["switch=lab,tftp=/srv", /go with --net user/],
    ["user,rate=10", /no rate of 10 bytes a second: give 1000 to/],
    ["user,loss=2", /with the sign/],
    ["user,loss=101%", /0% to 100%/],
    ["user,latency=never", /no latency of never/],
    ["user,latency=1,jitter=2", /more than itself/],
    ["user,burst=1K", /give that, too/],
  ])("refuses %s", (text, message) => {
    expect(() => parseNetwork(text)).toThrow(message);
  });

  it("has rules and forwards where it leads to a user network, and only there", () => {
    const values = { net: [parseNetwork("loopback"), parseNetwork("user")] };
    expect(networksOf({ ...values, allow: ["example.org:443", "host"] })).toEqual([
      { to: "loopback" },
      { to: "user", allow: ["example.org:443", "host"] },
    ]);
    expect(networksOf({ ...values, allow: ["all"] })[1]).toEqual({ to: "user", egress: "open" });
    const forward = ["2222:22", "tcp:[::1]:80:8080", "0.0.0.0:81:81", "udp:5353:53"].map(parseForward);
    expect(networksOf({ ...values, forward })[1]?.forwards).toEqual([
      { hostPort: 2222, guestPort: 22 },
      { hostAddress: "::1", hostPort: 80, guestPort: 8080 },
      { hostAddress: "0.0.0.0", hostPort: 81, guestPort: 81 },
      { protocol: "udp", hostPort: 5353, guestPort: 53 },
    ]);
    expect(networksOf({ ...values, netLog: "log", pcap: "frames" })).toEqual([
      { to: "loopback", pcap: "frames" },
      { to: "user", log: "log" },
    ]);
    expect(() => networksOf({ pcap: "frames" })).toThrow(/give --net/);
    expect(() => networksOf({ net: [{ to: "loopback" }], allow: ["host"] })).toThrow(/give --net user/);
    for (const text of ["22", "0:22", "22:65536", "a:b", "x:1:2:3", "icmp:1:2:3"])
      expect(() => parseForward(text)).toThrow(/no forward/);
  });

  it("is told whole to whoever goes on with the VM, its rules above all", () => {
    const networks = networksOf({
      net: [parseNetwork("loopback"), parseNetwork("user")],
      allow: ["*.example.net", "host:80"],
      forward: [parseForward("2222:22"), parseForward("udp:[::1]:80:8080")],
      netLog: "log",
    });
    expect(networkOptionsText(networks)).toBe(
      " --net loopback --net user --allow '*.example.net' --allow 'host:80' --forward 2222:22 --forward udp:[::1]:80:8080 --net-log log",
    );
    expect(networkOptionsText(networksOf({ net: [parseNetwork("user")], allow: ["all"] }))).toBe(
      " --net user --allow 'all'",
    );
    expect(networkOptionsText([{ to: "user" }])).toBe(" --net user");
  });

  it("is no card with none, and not both", () => {
    expect(networksOf({ net: [undefined] })).toEqual([]);
    expect(() => networksOf({ net: [undefined, { to: "loopback" }] })).toThrow(/exclude each other/);
  });
});
