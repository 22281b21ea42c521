/**
 * What cloud-init in a guest is told: a seed of its data source NoCloud ("NoCloud" of its documentation), which is a small
 * ISO 9660 image with the volume's name cidata and the files meta-data and user-data. It is a function of what it is made
 * of, and kept in the cache under its own digest, so that a VM that is saved, or started again, finds the same one. Its
 * instance's name is made of the same digest: cloud-init does its work again when that changes.
 *
 *   $XDG_CACHE_HOME/twinmetal/images/seeds/DIGEST.iso     for its owner alone: it may hold a password's hash
 */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { chmod, mkdir, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { writeIso9660 } from "@twinmetal/storage";
import { cacheCandidates, openCacheDirectory, temporaryName } from "./cache-directory.ts";
import { describeWriteError, ImageError } from "./image-error.ts";
import { sha512Crypt } from "./sha512-crypt.ts";
import { checkUserData, loadYaml } from "./user-data.ts";

/** At least one of them. */
export interface CloudInitOptions {
  /** Path of user data as cloud-init takes it; then the options below give no user and no password. */
  readonly userData?: string;
  /** A user who may become root by sudo. Default: the image's own. */
  readonly user?: string;
  /** Paths of public keys, each a file as ssh-keygen writes it or authorized_keys has them: of `user`, or the image's own. */
  readonly sshKeys?: readonly string[];
  /** Path of a file whose first line is the password of `user`, or the image's own, at the console. */
  readonly passwordFile?: string;
  /** Default: as the image says. */
  readonly hostname?: string;
}

export interface SeedOptions extends CloudInitOptions {
  /** For tests. Default: as in cache-directory.ts. */
  readonly cacheDirectory?: string;
  readonly onWarning?: (message: string) => void;
}

const VOLUME_ID = "cidata";
const MAX_USER_DATA_BYTES = 2 ** 20;
const MAX_KEY_BYTES = 64 * 1024;
const MAX_PASSWORD_BYTES = 1024;
const KEY =
  /^(?:[^#]*\s)?(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp(?:256|384|521)|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) [A-Za-z0-9+/]+=*(?:\s.*)?$/;

/** The seed's path; nothing is written where it is there already. Rejects with ImageError. */
export async function ensureCloudInitSeed(options: SeedOptions): Promise<string> {
  checkCloudInit(options);
  const { userData, cacheDirectory, onWarning = () => {} } = options;
  const given = userData === undefined ? undefined : await readGiven(userData, "user data", MAX_USER_DATA_BYTES);
  const keys: string[] = [];
  for (const path of options.sshKeys ?? []) keys.push(...(await readKeys(path)));
  const password = options.passwordFile === undefined ? undefined : await readPassword(options.passwordFile);
  const image = seedImage(options, given, keys, password);
  const digest = createHash("sha256").update(image).digest("hex");
  const candidates = cacheCandidates(cacheDirectory);
  for (const root of [candidates.preferred, candidates.fallback]) {
    if (root !== undefined && (await holds(seedPath(root, digest), image))) return seedPath(root, digest);
  }
  if (given !== undefined && userData !== undefined) {
    const yaml = await loadYaml();
    if (yaml === undefined) onWarning(`the package yaml is not installed, so the YAML of ${userData} is not checked.`);
    checkUserData(given, userData, yaml);
  }
  const path = seedPath(await openCacheDirectory(candidates, onWarning), digest);
  await keep(path, image);
  return path;
}

/** What can be said without looking at files. Throws ImageError "IMAGE_BAD_OPTION". */
export function checkCloudInit({ userData, user, passwordFile, hostname }: CloudInitOptions): void {
  if (user !== undefined && (!/^[a-z_][a-z0-9_-]{0,31}$/.test(user) || user === "root")) {
    throw refuse(
      `${JSON.stringify(user)} is no name for a user.`,
      'Give up to 32 small letters, digits, "_" and "-", a letter first, and not root.',
    );
  }
  if (hostname !== undefined && !isHostName(hostname)) {
    throw refuse(
      `${JSON.stringify(hostname)} is no host name.`,
      'Give letters, digits and "-", like box or box.example.',
    );
  }
  if (userData !== undefined && (user ?? passwordFile) !== undefined) {
    throw refuse(
      `User data (${userData}) and a user or password made from options exclude each other.`,
      `Put them into ${userData}: users: and chpasswd:.`,
    );
  }
}

function isHostName(name: string): boolean {
  const isLabel = (label: string): boolean => /^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/.test(label);
  return name.length <= 253 && name.split(".").every(isLabel);
}

function seedImage(
  { user, hostname }: CloudInitOptions,
  given: Uint8Array | undefined,
  keys: readonly string[],
  password: string | undefined,
): Uint8Array {
  const userData = given ?? Buffer.from(cloudConfig(user, keys, password), "utf8");
  const named = { ...(hostname && { "local-hostname": hostname }), ...(keys.length > 0 && { "public-keys": keys }) };
  const hash = createHash("sha256").update(userData).update(JSON.stringify(named)).digest("hex");
  // JSON is YAML, and quotes whatever is in a comment of a key.
  const metaData = `${JSON.stringify({ "instance-id": `twinmetal-${hash.slice(0, 16)}`, ...named })}\n`;
  return writeIso9660(VOLUME_ID, [
    { name: "meta-data", data: Buffer.from(metaData, "utf8") },
    { name: "user-data", data: userData },
  ]);
}

function cloudConfig(user: string | undefined, keys: readonly string[], password: string | undefined): string {
  // The same password gives the same seed. Whoever knows a salt before has nothing of it without the user's name.
  const salt = createHash("sha256")
    .update(`${user ?? ""}\0${password}`)
    .digest("hex")
    .slice(0, 16);
  const hash = password === undefined ? undefined : sha512Crypt(password, salt);
  const own = user && {
    users: [
      {
        name: user,
        shell: "/bin/bash",
        sudo: "ALL=(ALL) NOPASSWD:ALL",
        lock_passwd: hash === undefined,
        ...(hash && { passwd: hash }),
        ...(keys.length > 0 && { ssh_authorized_keys: keys }),
      },
    ],
  };
  const images = hash !== undefined && user === undefined && { password: hash, chpasswd: { expire: false } };
  return `#cloud-config\n${JSON.stringify({ ...own, ...images })}\n`;
}

async function readKeys(path: string): Promise<string[]> {
  const text = Buffer.from(await readGiven(path, "public key", MAX_KEY_BYTES)).toString("utf8");
  if (text.includes("PRIVATE KEY-----")) {
    throw refuse(`${path} is a private key, which no guest is to have.`, `Give the public one: ${path}.pub.`);
  }
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== "" && !line.startsWith("#"));
  if (lines.length > 0 && lines.every((line) => KEY.test(line))) return lines.map((line) => line.trim());
  throw refuse(`${path} is no public key of ssh.`, "Give a file like ~/.ssh/id_ed25519.pub; ssh-keygen makes one.");
}

async function readPassword(path: string): Promise<string> {
  const [line = ""] = Buffer.from(await readGiven(path, "password file", MAX_PASSWORD_BYTES))
    .toString("utf8")
    .split(/\r?\n/, 1);
  if (line !== "" && !line.includes("\0")) return line;
  throw refuse(`The first line of ${path} is empty.`, "Write the password there.");
}

async function readGiven(path: string, what: string, maxBytes: number): Promise<Uint8Array> {
  try {
    // A pipe that nobody writes to is not waited for.
    const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    try {
      const found = await file.stat();
      if (!found.isFile()) throw refuse(`${path} is no file.`, `Give the path of the ${what}.`);
      if (found.size > maxBytes) {
        throw refuse(
          `${path} has ${found.size} bytes, more than the ${maxBytes} that a ${what} may have.`,
          "Check the path.",
        );
      }
      return await file.readFile();
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof ImageError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === "ENOENT" || code === "ENOTDIR" ? "it is not there" : message;
    throw new ImageError("IMAGE_BAD_OPTION", `The ${what} ${path} cannot be read: ${why}.`, "Check the path.", {
      cause: error,
    });
  }
}

const seedPath = (root: string, digest: string): string => join(root, "seeds", `${digest}.iso`);

async function holds(path: string, image: Uint8Array): Promise<boolean> {
  const found = await readFile(path).catch(() => undefined);
  return found !== undefined && Buffer.from(image).equals(found);
}

async function keep(path: string, image: Uint8Array): Promise<void> {
  const temporary = temporaryName(path);
  try {
    await mkdir(join(path, ".."), { recursive: true, mode: 0o700 });
    await writeFile(temporary, image, { mode: 0o600, flag: "wx" });
    await chmod(temporary, 0o600);
    await rename(temporary, path);
  } catch (error) {
    throw describeWriteError(error, path);
  } finally {
    await rm(temporary, { force: true });
  }
}

const refuse = (what: string, nextStep: string): ImageError => new ImageError("IMAGE_BAD_OPTION", what, nextStep);
