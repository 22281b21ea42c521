import { expect, it } from "vitest";
import { type BootChoice, parseBoot } from "./boot-choice.ts";

it.each<[string, BootChoice]>([
  ["menu", { hasBootMenu: true }],
  ["menu=on", { hasBootMenu: true }],
  ["menu=off", { hasBootMenu: false }],
  ["cdrom", { bootOrder: ["cdrom"], hasBootMenu: false }],
  ["cdrom,disk,menu=on", { bootOrder: ["cdrom", "disk"], hasBootMenu: true }],
])("--boot %s", (text, expected) => {
  expect(parseBoot(text)).toEqual(expected);
});

it.each([
  ["", /cannot start from ""\. Possible: disk, cdrom, net, floppy, and menu/],
  ["tape", /cannot start from "tape"/],
  ["disk,disk", /twice/],
])("--boot %s is refused", (text, message) => {
  expect(() => parseBoot(text)).toThrow(message);
});
