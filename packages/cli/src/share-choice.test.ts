import { describe, expect, it } from "vitest";
import { parseShare, shareText } from "./share-choice.ts";

describe("--share", () => {
  it.each([
    ["src", { path: "src" }],
    ["src:work", { path: "src", name: "work" }],
    ["/home/me/a,b:x,ro", { path: "/home/me/a,b", name: "x", isReadOnly: true }],
    ["src,type=9p,rw", { path: "src", type: "9p", isReadOnly: false }],
    ["src:w,ro,type=virtiofs", { path: "src", name: "w", isReadOnly: true, type: "virtiofs" }],
    ["a:b/c", { path: "a:b/c" }],
  ])("%s", (text, share) => {
    expect(parseShare(text)).toEqual(share);
    expect(parseShare(shareText(parseShare(text)))).toEqual(share);
  });

  it.each([
    ["", /which folder/],
    [":name", /which folder/],
    ["src:", /no name/],
    ["src:two words", /no name/],
    ["src:/data", /is a path.*--share src:data, with ,ro.*\/share\/data/],
    ["/home/me:/mnt/my data/:ro", /--share \/home\/me:mnt/],
    ["src:work:ro", /behind a comma, --share src:work,ro/],
    ["src,type=nfs", /Possible: virtiofs, 9p/],
    ["src,readonly=yes", /nothing that a shared folder has/],
  ])("%s is refused", (text, message) => expect(() => parseShare(text)).toThrow(message));
});
