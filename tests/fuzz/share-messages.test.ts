/**
 * Many messages to the two file protocols themselves, with no rings around them that a mutation could break: so that guests get
 * far, with files walked to, opened, listed and removed. Nothing throws, requests have their form, answers have their room.
 */
import { describe, expect, it } from "vitest";
import { encodeRequest } from "../../packages/core/src/devices/files/file-requests.ts";
import type { MemoryFolder } from "../../packages/core/src/devices/files/memory-folder.ts";
import { FuseProtocol } from "../../packages/core/src/devices/virtio/fuse/protocol.ts";
import { P9 } from "../../packages/core/src/devices/virtio/p9/messages.ts";
import { Protocol9p } from "../../packages/core/src/devices/virtio/p9/protocol.ts";
import type { Answer, FileProtocol } from "../../packages/core/src/devices/virtio/share-device.ts";
import { seededRandom } from "./device-fuzz.ts";
import { checkRequest, folderWithFiles, fuse, knownBy, p9 } from "./share-sequences.ts";

const MESSAGES = 1500;
const SEEDS = 8;

function answerTo(protocol: FileProtocol, folder: MemoryFolder, bytes: Uint8Array, room: number): Answer {
  const begun = protocol.begin({ bytes, length: bytes.length, room });
  if (begun.kind === "silent") return [];
  if (begun.kind === "answer") return begun.answer;
  const data = bytes.subarray(begun.data?.at ?? 0, (begun.data?.at ?? 0) + (begun.data?.length ?? 0));
  checkRequest(begun.request, data);
  const { error, bytes: reply } = folder.answer(encodeRequest(begun.request), data);
  return begun.finish(error, reply);
}

/** Lengths of all answers, by the numbers that `typeOf` finds in them. */
function converse(
  make: () => FileProtocol,
  message: typeof p9,
  typeOf: (request: Uint8Array, answer: Uint8Array) => number,
): Map<number, number> {
  const longest = new Map<number, number>();
  for (let seed = 1; seed <= SEEDS; seed++) {
    const [random, protocol, folder] = [seededRandom(seed), make(), folderWithFiles()];
    for (let i = 0; i < MESSAGES; i++) {
      const bytes = message(random, knownBy(protocol.save()));
      const room = [0, 8, 64, 400, 4000, 20_000][random(6)]!;
      const answer = Buffer.concat(answerTo(protocol, folder, bytes, room));
      expect(answer.length, `seed ${seed}, message ${i}`).toBeLessThanOrEqual(room);
      if (answer.length === 0) continue;
      const type = typeOf(bytes, answer);
      longest.set(type, Math.max(longest.get(type) ?? 0, answer.length));
    }
  }
  return longest;
}

describe("messages of a guest to its shared folder", () => {
  it("by 9P2000.L, of which each gets an answer of its own at some time", { timeout: 60_000 }, () => {
    const longest = converse(
      () => new Protocol9p(),
      p9,
      (_, answer) => answer[4]!,
    );
    const { LERROR, REMOVE, ...answered } = P9;
    for (const [name, type] of Object.entries(answered)) expect(longest.has(type + 1), name).toBe(true);
    expect(longest.get(P9.READDIR + 1)).toBeGreaterThan(1000);
  });

  it("by FUSE", { timeout: 60_000 }, () => {
    const longest = converse(
      () => new FuseProtocol(),
      fuse,
      (request) => request[0]!,
    );
    expect(Math.max(...longest.values())).toBeGreaterThan(1000);
  });
});
