import { describe, expect, it } from "vitest";
import { networksOf, networkText, parseNetwork } from "./network-choice.ts";

describe("--net", () => {
  it.each([
    ["loopback", { to: "loopback" }],
    ["socket=/run/a.sock", { to: "socket", path: "/run/a.sock" }],
    ["socket=a,b.sock,mtu=9000", { to: "socket", path: "a,b.sock", mtu: 9000 }],
    ["socket=a=b,model=virtio", { to: "socket", path: "a=b", model: "virtio" }],
    ["loopback,mac=52:54:00:AB:cd:01", { to: "loopback", mac: "52:54:00:ab:cd:01" }],
    ["none", undefined],
  ])("reads %s", (text, expected) => {
    expect(parseNetwork(text)).toEqual(expected);
    if (expected) expect(parseNetwork(networkText(parseNetwork(text)!))).toEqual(expected);
  });

  it.each([
    ["socket", /is no network/],
    ["user", /not in this version yet/],
    ["loopback,mac=01:00:00:00:00:01", /no network card's address/],
    ["loopback,mtu=20", /no MTU/],
    ["loopback,model=rtl8139", /no network card "rtl8139"/],
    ["loopback,speed=3", /nothing that a network card has/],
    ["none,mtu=1500", /leave the rest out/],
  ])("refuses %s", (text, message) => {
    expect(() => parseNetwork(text)).toThrow(message);
  });

  it("is no card with none, and not both", () => {
    expect(networksOf({ net: [undefined] })).toEqual([]);
    expect(() => networksOf({ net: [undefined, { to: "loopback" }] })).toThrow(/exclude each other/);
  });
});
