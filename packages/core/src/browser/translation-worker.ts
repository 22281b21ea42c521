/** The entry of the web worker that translates guest code. Loaded by worker-translator.ts, never imported. */
import { type TranslationBatch, translateBatch } from "../jit/translator.ts";
import type { MessageTarget } from "./web-platform.ts";

const scope = globalThis as unknown as MessageTarget;
scope.onmessage = ({ data }) => scope.postMessage(translateBatch(data as TranslationBatch));
