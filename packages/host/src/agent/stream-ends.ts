/** Joins the agent's streams to memory: a bounded collector, and a pump that stops when the reader has gone. */

import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import { AgentError } from "./agent-error.ts";

export type Collected = Buffer;

export async function collect(stream: Readable, maxBytes: number): Promise<Collected> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > maxBytes) {
      throw new AgentError("AGENT_TOO_LARGE", `The command's output is over the limit of ${maxBytes} bytes.`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, sizeBytes);
}

/** Input that is needed whole. */
export async function collectInput(
  source: Uint8Array | AsyncIterable<Uint8Array>,
  maxBytes: number,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of source instanceof Uint8Array ? [source] : source) {
    sizeBytes += chunk.length;
    if (sizeBytes > maxBytes) {
      throw new AgentError(
        "AGENT_TOO_LARGE",
        `The command's input is over the ${maxBytes} bytes that this guest's agent takes. Write it to a file in the guest first.`,
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, sizeBytes);
}

/** Writes `source` and then the end of file. Resolves early when the command takes no more. */
export async function pump(source: Uint8Array | AsyncIterable<Uint8Array>, sink: Writable): Promise<void> {
  const chunks = source instanceof Uint8Array ? slices(source) : source[Symbol.asyncIterator]();
  let onClosed = (): void => {};
  const closed = new Promise<undefined>((resolve) => {
    onClosed = () => resolve(undefined);
    sink.once("close", onClosed);
  });
  try {
    while (!sink.destroyed) {
      const next = await Promise.race([chunks.next(), closed]);
      if (next === undefined || next.done) break;
      if (!sink.write(next.value)) await Promise.race([drained(sink), closed]);
    }
  } finally {
    sink.off("close", onClosed);
    void chunks.return?.(undefined);
    sink.end();
  }
}

function drained(sink: Writable): Promise<unknown> {
  return once(sink, "drain").catch(() => undefined); // A sink that fails is closed, which ends the pump.
}

const SLICE_BYTES = 64 * 1024;

function* slices(bytes: Uint8Array): Generator<Uint8Array, undefined> {
  for (let offset = 0; offset < bytes.length; offset += SLICE_BYTES) yield bytes.subarray(offset, offset + SLICE_BYTES);
}
