/**
 * Connections from the host's side to a guest on a user network. Each is made over a Unix socket in a folder that only this
 * user can enter, which the network's thread listens at for one connection; the folder is gone once it is made.
 */
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Duplex, Readable } from "node:stream";
import type { AgentCall, GuestInterface } from "../agent/index.ts";
import { VmError } from "../vm/vm-error.ts";
import { type CardChanging, cardsInBays, plugCard, unplugCard } from "./card-bays.ts";
import { checkLimits } from "./card-limits.ts";
import type { CardLimits, CardUsage, NetworkOptions } from "./network-protocol.ts";

export interface VmNetwork {
  /** Of each card's wire, at present. */
  readonly limits: readonly CardLimits[];
  /**
   * The wire of a card (eth0 is 0) has these limits from now on, and no others: `{}` for none. Frames on their way are
   * included. Rejects with VmError "no-network" where there is no such card, "bad-option" for limits that cannot be.
   */
  limit(card: number, limits: CardLimits): Promise<void>;
  /** Of each card, since the VM's start. */
  usage(): Promise<readonly CardUsage[]>;
  /**
   * Connects to a TCP port of the guest, which sees its gateway as the peer. A port that nobody listens at ends the stream at
   * once. Rejects with VmError "no-network" where the VM's first user network is missing.
   */
  connect(port: number): Promise<Duplex>;
  /**
   * A virtio network card comes into a bay (`VmOptions.networkBays`), and leads there: "net1" is the second card, bays come last. The guest
   * notices. Rejects with VmError "bad-option", "bad-state" where it is there already, and where the network cannot be reached.
   */
  plug(card: string, network: NetworkOptions): Promise<void>;
  /** It leaves when the guest has let it go. Rejects with VmError "timeout" when it has not within 30 s. */
  unplug(card: string): Promise<void>;
  /** Cards that are in bays, at present. */
  readonly inBays: readonly string[];
  /** The guest's network cards and their addresses, as its agent says. */
  addresses(options?: AgentCall): Promise<readonly GuestInterface[]>;
}

/** What the thread does. */
export interface CardThread {
  readonly hasUserNetwork: boolean;
  /** Of each card, at present. */
  readonly networks: readonly NetworkOptions[];
  change(card: number, options: NetworkOptions): Promise<void>;
  readonly limits: readonly CardLimits[];
  limit(card: number, limits: CardLimits): Promise<void>;
  usage(): Promise<readonly CardUsage[]>;
  /** Listens at `path` for one connection, which goes on to the guest's port. */
  lead(path: string, guestPort: number): Promise<void>;
}

export interface NetworkBackend {
  /** Undefined: the VM has no network card. */
  readonly cards: CardThread | undefined;
  readonly spec: CardChanging["spec"];
  readonly tray: CardChanging["tray"];
  /** Asks the guest. */
  interfaces(options: AgentCall): Promise<readonly GuestInterface[]>;
}

export class NetworkOfVm implements VmNetwork {
  readonly #thread: CardThread | undefined;
  readonly #interfaces: NetworkBackend["interfaces"];
  readonly #bays: CardChanging;

  constructor({ cards, spec, tray, interfaces }: NetworkBackend) {
    this.#thread = cards;
    this.#bays = { spec, cards, tray };
    this.#interfaces = interfaces;
  }

  async plug(card: string, network: NetworkOptions): Promise<void> {
    await plugCard(this.#bays, card, network);
  }

  async unplug(card: string): Promise<void> {
    await unplugCard(this.#bays, card);
  }

  get inBays(): readonly string[] {
    return cardsInBays(this.#bays);
  }

  async addresses(options: AgentCall = {}): Promise<readonly GuestInterface[]> {
    return await this.#interfaces(options);
  }

  get limits(): readonly CardLimits[] {
    return this.#thread?.limits ?? [];
  }

  async limit(card: number, limits: CardLimits): Promise<void> {
    const count = this.limits.length;
    if (!this.#thread || !Number.isInteger(card) || card < 0 || card >= count) {
      const has = count === 0 ? "no network card" : count === 1 ? "one network card, 0" : `cards 0 to ${count - 1}`;
      throw new VmError("no-network", `The VM has no network card ${card} that could have limits. It has ${has}.`);
    }
    checkLimits(limits);
    await this.#thread.limit(card, limits);
  }

  async usage(): Promise<readonly CardUsage[]> {
    return (await this.#thread?.usage()) ?? [];
  }

  async connect(port: number): Promise<Socket> {
    if (!this.#thread?.hasUserNetwork) {
      throw new VmError("no-network", "The VM is on no user network. Make it with a network that leads to 'user'.");
    }
    if (!Number.isInteger(port) || port < 1 || port > 65535) {
      throw new VmError("bad-option", `${port} is no port. Give 1 to 65535.`);
    }
    const folder = await mkdtemp(join(tmpdir(), "twinmetal-connect-"));
    try {
      const path = join(folder, "guest");
      await this.#thread.lead(path, port);
      const socket = connect({ path, allowHalfOpen: true });
      await once(socket, "connect");
      return socket;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /**
   * HTTP to a server in the guest: the URL's port counts, its host is what the server is told. The body is read before it is sent.
   * Rejects with VmError "bad-option" for other schemes, "refused" where nobody listens, as `fetch` otherwise.
   */
  async fetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
    const asked = new Request(input, init);
    const url = new URL(asked.url);
    if (url.protocol !== "http:") {
      throw new VmError("bad-option", `vm.fetch speaks http, and ${url.protocol}// is another language.`);
    }
    const socket = await this.connect(url.port === "" ? 80 : Number(url.port));
    const body = asked.body ? Buffer.from(await asked.arrayBuffer()) : undefined;
    const request = httpRequest({
      createConnection: () => socket,
      method: asked.method,
      path: url.pathname + url.search,
      headers: { host: url.host, ...Object.fromEntries(asked.headers), connection: "close" },
      signal: asked.signal,
    });
    request.end(body);
    return responseOf(await answer(request, url));
  }
}

async function answer(request: ReturnType<typeof httpRequest>, url: URL): Promise<IncomingMessage> {
  try {
    const [message] = (await once(request, "response")) as [IncomingMessage];
    return message;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ECONNRESET" && code !== "EPIPE") throw error;
    const what = `Nobody in the guest answers at port ${url.port || 80}.`;
    throw new VmError("refused", `${what} Start the server there, at all addresses.`, { cause: error });
  }
}

const WITHOUT_BODY: readonly number[] = [101, 204, 205, 304];

function responseOf(message: IncomingMessage): Response {
  const { statusCode = 200, statusMessage, headersDistinct } = message;
  const headers = Object.entries(headersDistinct).flatMap(([name, values = []]) =>
    values.map((value): [string, string] => [name, value]),
  );
  const body = WITHOUT_BODY.includes(statusCode) ? null : (Readable.toWeb(message) as ReadableStream<Uint8Array>);
  return new Response(body, { status: statusCode, statusText: statusMessage, headers });
}
