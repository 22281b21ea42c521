import { describe, expect, it } from "vitest";
import type { AgentPort } from "./agent-port.ts";
import { type ConsoleBackend, ConsolePorts } from "./console-ports.ts";

function start(windowBytes = 8): { log: string[]; ports: ConsolePorts; port: AgentPort } {
  const log: string[] = [];
  const backend: ConsoleBackend = {
    windowBytes,
    sendData: (name, bytes) => log.push(`${name} ${Buffer.from(bytes).toString()}`),
    sendCommand: (name, command) => log.push(`${name} <${command}>`),
  };
  const ports = new ConsolePorts(backend);
  return { log, ports, port: ports.port("p") };
}

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));

describe("ConsolePorts", () => {
  it("opens a port of a machine that may have been in use before", () => {
    const { log, port } = start();
    port.open();
    port.open();
    expect(log).toEqual(["p <discard>", "p <open>", "p <go>"]);
    port.close("now");
    port.open();
    expect(log.slice(3)).toEqual(["p <discard>", "p <close>", "p <open>"]);
  });

  it("has one object for a port", () => {
    const { ports } = start();
    expect(ports.port("x")).toBe(ports.port("x"));
  });

  it("never sends more than the window, and goes on with credit", async () => {
    const { log, ports, port } = start(4);
    port.open();
    log.length = 0;
    let isDone = false;
    const writing = port.write(bytes("abcdefghij")).then(() => {
      isDone = true;
    });
    await Promise.resolve();
    expect(log).toEqual(["p abcd"]);
    ports.receiveReport("p", { kind: "credit", bytes: 3 });
    ports.receiveReport("p", { kind: "credit", bytes: 3 });
    expect(log.slice(1)).toEqual(["p efg", "p hij"]);
    await writing;
    expect(isDone).toBe(true);
  });

  it("closes after the last byte has been taken", async () => {
    const { log, ports, port } = start();
    port.open();
    await port.write(bytes("abc"));
    port.close("delivered");
    expect(log.at(-1)).toBe("p abc");
    ports.receiveReport("p", { kind: "credit", bytes: 3 });
    expect(log.at(-1)).toBe("p <close>");
    port.open();
    expect(log.at(-1)).toBe("p <open>");
  });

  it("closes at once on demand, and settles what waited", async () => {
    const { log, port } = start(2);
    port.open();
    log.length = 0;
    const writing = port.write(bytes("abc"));
    port.close("now");
    await writing;
    expect(log).toEqual(["p ab", "p <discard>", "p <close>"]);
    await port.write(bytes("late"));
    expect(log).toHaveLength(3);
  });

  it("holds back what arrives after a stop, and keeps the order", () => {
    const { log, ports, port } = start();
    const seen: string[] = [];
    port.onData = (data) => {
      seen.push(Buffer.from(data).toString());
      if (seen.length === 2) port.setFlow(false);
    };
    for (const text of ["1", "2", "3", "4"]) ports.receiveData("p", bytes(text));
    expect(seen).toEqual(["1", "2"]);
    port.setFlow(true);
    ports.receiveData("p", bytes("5"));
    expect(seen).toEqual(["1", "2", "3", "4", "5"]);
    expect(log).toEqual(["p <stop>", "p <go>"]);
  });

  it("passes on that the guest opened and closed", () => {
    const { ports, port } = start();
    const seen: string[] = [];
    port.onGuestOpen = () => seen.push("open");
    port.onGuestClose = () => seen.push("close");
    ports.receiveReport("p", { kind: "guest-open" });
    ports.receiveReport("p", { kind: "guest-close" });
    expect(seen).toEqual(["open", "close"]);
  });
});
