/** Links that are made and links that are waited for, over Unix sockets, TCP and TLS. */
import { connect as connectSocket, createServer, isIP, type Server, type Socket } from "node:net";
import {
  checkServerIdentity,
  connect as connectTls,
  createServer as createTlsServer,
  type PeerCertificate,
  type TLSSocket,
} from "node:tls";
import { MigrationError, type MigrationLink } from "@twinmetal/core";
import { listenAt, whyNotListening } from "../socket/listen-at.ts";
import { badOption, formatAddress, type MigrationAddress, type TlsMaterial } from "./address.ts";
import { describe, SocketLink } from "./socket-link.ts";

/** More at a time are turned away. */
const MAX_CONNECTIONS = 8;
/** Of a certificate's names in a message. */
const MAX_NAME = 200;
const OLDEST_TLS = "TLSv1.3";

/** Rejects with MigrationError "link-lost". */
export async function connectLink(
  address: MigrationAddress,
  tls: TlsMaterial | undefined,
  timeoutMs: number,
): Promise<MigrationLink> {
  const socket = openSocket(address, tls);
  const ready = tls ? "secureConnect" : "connect";
  try {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer for ${timeoutMs / 1000} s`)), timeoutMs);
      socket.once(ready, () => {
        clearTimeout(timer);
        resolve();
      });
      socket.once("error", (error) => {
        clearTimeout(timer);
        reject(error);
      });
    });
  } catch (error) {
    socket.on("error", () => {});
    socket.destroy();
    const why = describe(error as Error);
    throw new MigrationError("link-lost", `${formatAddress(address)} cannot be reached: ${why}.`, { cause: error });
  }
  socket.setNoDelay?.(true);
  return new SocketLink(socket);
}

function openSocket(address: MigrationAddress, tls: TlsMaterial | undefined): Socket {
  try {
    if (address.kind === "unix") return connectSocket(address.path);
    const { host, port } = address;
    if (!tls) return connectSocket(port, host);
    const { peers, ...material } = tls;
    return connectTls({
      host,
      port,
      ...material,
      minVersion: OLDEST_TLS,
      ...(isIP(host) === 0 && { servername: host }),
      checkServerIdentity: (name, certificate) =>
        checkServerIdentity(name, certificate) ??
        (isAccepted(certificate, peers) ? undefined : notAccepted(certificate)),
    });
  } catch (error) {
    throw badTls(error);
  }
}

export interface LinkListener {
  /** With the port that was chosen, where 0 was asked for. */
  readonly address: MigrationAddress;
  close(): Promise<void>;
  /** Does not keep the process alive any more. */
  unref(): void;
}

/** Rejects with MigrationError "bad-option" if nobody can listen there. */
export async function listenForLinks(
  address: MigrationAddress,
  tls: TlsMaterial | undefined,
  onLink: (link: MigrationLink) => void,
  /** A peer of the authority that is none of those accepted. */
  onRefused: (error: MigrationError) => void = () => {},
): Promise<LinkListener> {
  const server = makeServer(tls, onLink, onRefused);
  server.maxConnections = MAX_CONNECTIONS;
  await listenAt(server, address, { isOwnersAlone: true }).catch((error: NodeJS.ErrnoException) => {
    const why = whyNotListening(error);
    throw badOption(`Nobody can listen at ${formatAddress(address)}: ${why}. Give another address.`, error);
  });
  return {
    address: withPort(address, server),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
      }),
    unref: () => void server.unref(),
  };
}

function makeServer(
  tls: TlsMaterial | undefined,
  onLink: (link: MigrationLink) => void,
  onRefused: (error: MigrationError) => void,
): Server {
  const accept = (socket: Socket): void => {
    socket.setNoDelay?.(true);
    onLink(new SocketLink(socket));
  };
  if (!tls) return createServer(accept);
  const { peers, ...material } = tls;
  const acceptKnown = (socket: TLSSocket): void => {
    const certificate = socket.getPeerCertificate();
    if (isAccepted(certificate, peers)) accept(socket);
    else {
      socket.destroy();
      onRefused(notAccepted(certificate));
    }
  };
  try {
    const server = createTlsServer(
      { ...material, minVersion: OLDEST_TLS, requestCert: true, rejectUnauthorized: true },
      acceptKnown,
    );
    return server.on("tlsClientError", (_error, socket) => socket.destroy());
  } catch (error) {
    throw badTls(error);
  }
}

function isAccepted(certificate: PeerCertificate, peers: readonly string[] | undefined): boolean {
  return peers === undefined || peers.some((name) => checkServerIdentity(name, certificate) === undefined);
}

function notAccepted({ subjectaltname, subject }: PeerCertificate): MigrationError {
  const names = (subjectaltname ?? subject?.CN ?? "no name").slice(0, MAX_NAME);
  return new MigrationError(
    "bad-peer",
    `A peer with the certificate of ${JSON.stringify(names)} is not among those accepted.`,
  );
}

function badTls(error: unknown): MigrationError {
  return badOption(`Key, certificate and authority do not make a TLS link: ${(error as Error).message}.`, error);
}

function withPort(address: MigrationAddress, server: Server): MigrationAddress {
  const bound = server.address();
  return address.kind === "tcp" && typeof bound === "object" && bound ? { ...address, port: bound.port } : address;
}
