/**
 * Logger: one JSON line an event, by pino.
 *
 * A logger is handed down, never global; `child` adds fields that every line of a part carries. Fields whose names are
 * those of secrets are blanked wherever they appear at the top or one level down, so that logging a whole settings
 * object cannot leak one. Lines are written without blocking the event loop; `close()` writes what is left.
 */
import { openSync } from "node:fs";
import pino from "pino";

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** What every layer may use of a logger. */
export type Logger = Pick<
  pino.Logger,
  "trace" | "debug" | "info" | "warn" | "error" | "child" | "isLevelEnabled"
>;

export interface OwnedLogger extends Logger, AsyncDisposable {
  /** Writes what is buffered and closes the destination. May be called twice. */
  close(): Promise<void>;
}

export interface LoggerOptions {
  level: LogLevel;
  /** A path to append to, or a descriptor: 1 is stdout, 2 is stderr. */
  destination: string | number;
  /** Fields of every line. */
  fields?: Record<string, unknown>;
}

/** Names whose values are never written. */
const SECRET_FIELDS = [
  "accessKeyId",
  "secretAccessKey",
  "sessionToken",
  "authorization",
  "Authorization",
  "password",
  "credentials",
  "x-amz-security-token",
];

const REDACT_PATHS = SECRET_FIELDS.flatMap((name) => {
  const quoted = /^\w+$/.test(name) ? [name, `*.${name}`] : [`["${name}"]`, `*["${name}"]`];
  return quoted;
});

/** A logger with its own destination. The caller closes it. */
export function createLogger(options: LoggerOptions): OwnedLogger {
  // Opened here and not by pino, so that a folder that cannot be written is an error now and not an event later.
  const fd =
    typeof options.destination === "string" ? openSync(options.destination, "a", 0o600) : options.destination;
  const destination = pino.destination({ fd, sync: false });
  // A full disk or a closed terminal must not end the volume's process.
  destination.on("error", () => {});
  const logger = pino(
    {
      level: options.level,
      base: options.fields ?? {},
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: REDACT_PATHS, censor: "[secret]" },
      serializers: { err: serializeError, error: serializeError },
    },
    destination,
  );
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closed ??= new Promise((resolve) => {
      // `error` instead of `close`: the disk is full or the terminal gone, and nothing more can be written.
      destination.once("close", resolve).once("error", () => resolve());
      destination.end();
    });
    return closed;
  };
  return Object.assign(logger, { close, [Symbol.asyncDispose]: close });
}

/** A logger that writes nothing. */
export const silentLogger: Logger = pino({ level: "silent" });

/** Errors with their code, S3 detail and cause; the stack as well, because a log is where bugs are found. */
function serializeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { name, message, stack, cause } = error;
  return {
    name,
    message,
    ...pickDefined(error),
    stack,
    ...(cause === undefined ? {} : { cause: serializeError(cause) }),
  };
}

function pickDefined(error: Error): Record<string, unknown> {
  const names = ["code", "s3Code", "requestId", "httpStatus", "bucket", "key", "errno", "syscall"] as const;
  const fields: Record<string, unknown> = {};
  for (const name of names) {
    const value: unknown = Reflect.get(error, name);
    if (value !== undefined) fields[name] = value;
  }
  return fields;
}
