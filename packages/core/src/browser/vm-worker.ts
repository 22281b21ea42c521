/** The entry of the web worker that a machine runs in. Loaded by vm.ts, never imported. */
import { serveMachine } from "./machine-loop.ts";
import type { WebWorkerScope } from "./web-platform.ts";
import { WorkerTranslator } from "./worker-translator.ts";

serveMachine(globalThis as unknown as WebWorkerScope, () => new WorkerTranslator());
