import { chmodSync, existsSync, lstatSync, mkdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { SwitchLink } from "./switch-link.ts";
import { switchSocket } from "./switch-socket.ts";

const BROADCAST = 0xff;
const links: SwitchLink[] = [];
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "twinmetal-switch-"));
  vi.stubEnv("XDG_RUNTIME_DIR", folder);
});
afterEach(async () => {
  for (const link of links.splice(0)) link.close();
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

/** One card, with its number in its address. */
class Card {
  readonly number: number;
  readonly frames: Uint8Array[] = [];
  isUp = false;
  /** How often the cable went out. */
  downs = 0;
  hasRoom = true;
  link!: SwitchLink;

  private constructor(number: number) {
    this.number = number;
  }

  static async open(number: number, name = "lab"): Promise<Card> {
    const card = new Card(number);
    card.link = await SwitchLink.open(name, {
      deliver: (frame) => {
        if (card.hasRoom) card.frames.push(frame.slice());
        return card.hasRoom;
      },
      setUp: (isUp) => {
        card.isUp = isUp;
        if (!isUp) card.downs++;
      },
      ready: () => {},
    });
    links.push(card.link);
    return card;
  }

  send(to: number, last = 0): void {
    const frame = new Uint8Array(60);
    frame.set(to === BROADCAST ? [255, 255, 255, 255, 255, 255] : [2, 0, 0, 0, 0, to]);
    frame.set([2, 0, 0, 0, 0, this.number], 6);
    frame[59] = last;
    this.link.send(frame);
  }

  get from(): number[] {
    return this.frames.splice(0).map((frame) => frame[11]!);
  }
}

async function reaches(from: Card, ...to: Card[]): Promise<void> {
  for (const card of to) card.frames.length = 0;
  await expect
    .poll(
      () => {
        from.send(BROADCAST);
        return to.every(({ frames }) => frames.some((frame) => frame[11] === from.number));
      },
      { timeout: 5000, interval: 20 },
    )
    .toBe(true);
}

describe("a switch between VMs", () => {
  it("joins all of a name, and nobody else", async () => {
    const [a, b, c, other] = [await Card.open(1), await Card.open(2), await Card.open(3), await Card.open(4, "other")];
    await reaches(a, b, c);
    await reaches(b, a, c);
    await reaches(c, a, b);
    await new Promise((resolve) => setTimeout(resolve, 20));
    for (const card of [a, b, c]) card.frames.length = 0;
    b.send(1);
    b.send(3);
    a.send(2);
    await expect.poll(() => [a.from, b.from, c.from]).toEqual([[2], [1], [2]]);
    expect(other.frames).toEqual([]);
    expect(lstatSync(join(folder, "twinmetal")).mode & 0o777).toBe(0o700);
  });

  it("survives the end of any VM, the cables staying in", async () => {
    const cards = [await Card.open(1), await Card.open(2), await Card.open(3), await Card.open(4)];
    await reaches(cards[0]!, ...cards.slice(1));
    for (let left = 4; left > 2; left--) {
      cards.shift()!.link.close();
      await reaches(cards[0]!, ...cards.slice(1));
      await reaches(cards.at(-1)!, ...cards.slice(0, -1));
      expect(cards.map(({ downs }) => downs)).toEqual(cards.map(() => 0));
    }
    cards[1]!.link.close();
    cards[0]!.link.close();
    await expect.poll(() => existsSync(switchSocket("lab"))).toBe(false);
    const [e, f] = [await Card.open(5), await Card.open(6)];
    await reaches(e, f);
  });

  it("is one again where two were made at once, or the socket was taken away", async () => {
    const [a, b] = [await Card.open(1), await Card.open(2)];
    await reaches(a, b);
    renameSync(switchSocket("lab"), join(folder, "elsewhere"));
    const c = await Card.open(3);
    await reaches(c, a, b);
    await reaches(a, b, c);
    const many = await Promise.all([4, 5, 6, 7, 8].map((number) => Card.open(number, "new")));
    await reaches(many[0]!, ...many.slice(1));
    await reaches(many[4]!, ...many.slice(0, 4));
  });

  it("does not wait for a card that has no room, and keeps some for it", async () => {
    const [a, b, c] = [await Card.open(1), await Card.open(2), await Card.open(3)];
    await reaches(b, a, c);
    a.hasRoom = false;
    for (let i = 0; i < 100; i++) b.send(BROADCAST, i);
    await expect.poll(() => c.frames.length).toBeGreaterThanOrEqual(100);
    a.frames.length = 0;
    a.hasRoom = true;
    a.link.resume();
    expect(a.frames.slice(-100).map((frame) => frame[59])).toEqual([...Array(100).keys()]);
    a.hasRoom = false;
    const large = new Uint8Array(60_000).fill(255, 0, 6);
    large.set([2, 0, 0, 0, 0, 2], 6);
    for (let i = 0; i < 100; i++) {
      b.link.send(large);
      await new Promise((resolve) => setImmediate(resolve));
    }
    a.frames.length = 0;
    a.hasRoom = true;
    a.link.resume();
    expect(a.frames.length).toBeLessThan(18);
  });

  it("hangs up on who speaks another protocol, and goes on", async () => {
    const [a, b] = [await Card.open(1), await Card.open(2)];
    const stranger = connect(switchSocket("lab"));
    const closed = new Promise((resolve) => stranger.on("close", resolve));
    stranger.write("GET / HTTP/1.1\r\n\r\n");
    await closed;
    await reaches(a, b);
  });

  it("is nobody else's, and no other file", async () => {
    for (const name of ["", "..", "a/b", "x".repeat(33), ".lab"]) {
      await expect(Card.open(1, name), name).rejects.toMatchObject({ code: "bad-option" });
    }
    writeFileSync(switchSocket("lab"), "precious");
    await expect(Card.open(1)).rejects.toMatchObject({ code: "network-socket" });
    const place = join(folder, "twinmetal");
    chmodSync(place, 0o770);
    await expect(Card.open(1, "open")).rejects.toThrow(/others than its user/);
    renameSync(place, `${place}.real`);
    mkdirSync(join(folder, "evil"), { mode: 0o700 });
    symlinkSync(join(folder, "evil"), place);
    await expect(Card.open(1, "open")).rejects.toThrow(/others than its user/);
  });
});
