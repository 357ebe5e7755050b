/** The process of a mount. Started by `hawser mount` and by the library, with the state folder as its argument. */
import { HawserError, toHawserError } from "../../common/errors.ts";
import { parts } from "../../daemon/parts.ts";
import { serve } from "../../daemon/serve.ts";
import { StateFolder } from "../../daemon/state-folder.ts";
import { parentSupervisor } from "../../daemon/supervisor.ts";
import type { Supervisor } from "../../daemon/supervisor.ts";
import { EXIT } from "../exit-codes.ts";
import { exitCodeOf } from "../exit-codes.ts";
import { reportError } from "../report.ts";
import { notifySystemd } from "../systemd.ts";
import type { Terminal } from "../terminal.ts";

export async function run([path]: readonly string[], terminal: Terminal): Promise<number> {
  if (path === undefined)
    throw new HawserError("invalid_argument", "serve-mount is started by 'hawser mount'.");
  const parent = parentSupervisor();
  const supervisor = parent ?? terminalSupervisor(terminal);
  try {
    await serve(new StateFolder(path), supervisor, parts);
    return EXIT.ok;
  } catch (error) {
    const failure = toHawserError(error);
    supervisor.failed(failure);
    return exitCodeOf(failure);
  }
}

/** In the foreground: words instead of messages. */
function terminalSupervisor(terminal: Terminal): Supervisor {
  return {
    ready({ source, mountPoint }) {
      terminal.err(`hawser: ${source} is mounted at ${mountPoint}`);
      notifySystemd(terminal.environment);
    },
    note: (text) => terminal.err(`hawser: ${text}`),
    failed: (error) => void reportError(error, terminal),
    credentials: () =>
      Promise.reject(
        new HawserError("credentials_missing", "There is no program that could hand over credentials."),
      ),
    onLost: () => {},
  };
}
