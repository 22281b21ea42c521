/** How a guest is asked to turn off. */
import { flag, option } from "./options.ts";
import { parseTimeout } from "./quantities.ts";

export const DEFAULT_STOP_MS = 60_000;

export const STOP_OPTIONS = {
  timeout: option("timeout", "TIME", "How long the guest may take, in seconds (or 5m, 1h; default 60).", parseTimeout),
  force: flag("force", "Where the guest has not turned off by then, end it, as by pulling the plug."),
};
