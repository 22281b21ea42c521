import { describe, expect, test } from "vitest";
import { VmSerialPort } from "./serial-port.ts";

function port(): { serial: VmSerialPort; sent: Uint8Array[]; released: () => number; says: (text: string) => void } {
  const sent: Uint8Array[] = [];
  let released = 0;
  const serial = new VmSerialPort({
    send: (bytes) => void sent.push(bytes),
    release: (cost) => {
      released += cost;
    },
  });
  const says = (text: string): void => serial.receive(Buffer.from(text), text.length);
  return { serial, sent, released: () => released, says };
}

describe("waiting for text", () => {
  test("finds it in what came before, across pieces, and not twice", async () => {
    const { serial, says } = port();
    says("log");
    const waiting = serial.waitFor(/in: (\w+)!/g);
    says("in: ro");
    says("ot! login: ");
    expect(await waiting).toBe("login: root!");
    expect(await serial.waitFor("login: ")).toBe(" login: ");
    await expect(serial.waitFor("login", { timeoutMs: 5 })).rejects.toMatchObject({ code: "timeout" });
  });

  test("decodes characters that arrive in parts", async () => {
    const { serial } = port();
    const bytes = Buffer.from("Grüße");
    serial.receive(bytes.subarray(0, 3), 3);
    serial.receive(bytes.subarray(3), bytes.length - 3);
    expect(await serial.waitFor("ße")).toBe("Grüße");
  });

  test("takes the last words of a guest, then rejects", async () => {
    const { serial, says } = port();
    const never = serial.waitFor("never");
    says("Bye.");
    serial.end("it turned itself off");
    await expect(never).rejects.toMatchObject({ code: "guest-ended", message: expect.stringContaining("Bye.") });
    expect(await serial.waitFor("Bye")).toBe("Bye");
    await expect(serial.waitFor("x")).rejects.toMatchObject({ code: "guest-ended" });
  });
});

describe("output", () => {
  test("is held back for the slowest iterator, and released when it goes away", async () => {
    const { serial, says, released } = port();
    says("a");
    expect(released()).toBe(1);
    const iterator = serial.output[Symbol.asyncIterator]();
    says("x".repeat(200_000));
    says("y".repeat(200_000));
    expect(released()).toBe(200_001);
    expect((await iterator.next()).value?.length).toBe(200_000);
    expect(released()).toBe(400_001);
    says("z".repeat(400_000));
    expect(released()).toBe(400_001);
    await iterator.return?.();
    expect(released()).toBe(800_001);
    expect(await iterator.next()).toMatchObject({ done: false });
  });

  test("reaches listeners until they are taken off", () => {
    const { serial, says } = port();
    const heard: string[] = [];
    const off = serial.onData((bytes) => heard.push(Buffer.from(bytes).toString()));
    says("one");
    off();
    says("two");
    expect(heard).toEqual(["one"]);
  });
});

describe("input", () => {
  test("goes in windows, as fast as the machine takes it, in order", async () => {
    const { serial, sent } = port();
    let isTaken = false;
    const text = "0123456789".repeat(10_000);
    const writing = serial.write(text).then(() => {
      isTaken = true;
    });
    const last = serial.write("end");
    expect(Buffer.concat(sent).length).toBe(65_536);
    serial.taken(65_536);
    await Promise.resolve();
    expect(isTaken).toBe(false);
    expect(Buffer.concat(sent).toString()).toBe(`${text}end`);
    serial.taken(text.length + 3 - 65_536);
    await Promise.all([writing, last]);
    await serial.write("");
  });

  test("resolves, unread, when the guest ends", async () => {
    const { serial, sent } = port();
    const writing = serial.write("x".repeat(100_000));
    serial.end("off");
    await writing;
    await serial.write("more");
    expect(Buffer.concat(sent).length).toBe(65_536);
  });
});
