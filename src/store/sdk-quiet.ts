/**
 * Keeping the AWS SDK off the user's terminal.
 *
 * It writes to stderr by itself: a notice about the Node version when its first client is made (meant for those who
 * build programs; an environment variable is the switch it offers), and hints to the console wherever it was given no
 * logger. What matters arrives as an error.
 */

/** Call it before the first client of any AWS service is made. */
export function silenceNodeVersionNotice(): void {
  process.env["AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED"] ??= "true";
}

function ignore(): void {
  // Nobody listens.
}

/** For the `logger` option of clients, request handlers and credential providers. */
export const SILENT_LOGGER = { debug: ignore, info: ignore, warn: ignore, error: ignore, trace: ignore };
