import { describe, expect, it } from "vitest";
import { deviceContract } from "./contract.ts";
import { FakeContext } from "./fake-context.ts";
import { createVmGeneration, GENERATION_CHANNEL } from "./vm-generation.ts";

const FIRST = Uint8Array.from({ length: 16 }, (_, i) => i);
const SECOND = FIRST.map((byte) => byte + 0x40);

function setUp(address: number | undefined) {
  const context = new FakeContext();
  let changes = 0;
  const id = FIRST.slice();
  const device = createVmGeneration(context, { id, address: () => address, onChange: () => void changes++ });
  const inMemory = (): Uint8Array => {
    const bytes = new Uint8Array(16);
    context.memory.read(0x1028, bytes);
    return bytes;
  };
  return { context, device, id, inMemory, changes: () => changes };
}

describe("the generation identifier", () => {
  it("changes in guest memory, with an event, and stays over a reset", () => {
    const { context, device, id, inMemory, changes } = setUp(0x1028);
    context.input(GENERATION_CHANNEL, SECOND);
    expect([id, inMemory(), changes()]).toEqual([SECOND, SECOND, 1]);
    device.reset();
    expect(id).toEqual(SECOND);
  });

  it.each([undefined, 2 ** 51])("is kept for later while it has no place: %s", (address) => {
    const { context, id, inMemory } = setUp(address);
    context.input(GENERATION_CHANNEL, SECOND);
    expect([id, inMemory()]).toEqual([SECOND, new Uint8Array(16)]);
  });

  it("is nothing but 16 bytes", () => {
    const { context, id, changes } = setUp(0x1028);
    context.input(GENERATION_CHANNEL, SECOND.subarray(1));
    expect([id, changes()]).toEqual([FIRST, 0]);
  });
});

describe("contract", () => {
  const checks = deviceContract((context) => ({
    device: createVmGeneration(context, { id: FIRST.slice(), address: () => 0x1028, onChange: () => {} }),
    ranges: [],
    survivesReset: true,
    events: [
      (random) =>
        context.input(
          GENERATION_CHANNEL,
          SECOND.map((byte) => byte ^ (random & 0xff)),
        ),
    ],
  }));
  it.each(checks)("$name", ({ run }) => run());
});
