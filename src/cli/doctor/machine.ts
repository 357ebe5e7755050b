/** What this machine must have for mounting, whatever the volume. */
import { accessSync, closeSync, constants, openSync, readFileSync, statSync } from "node:fs";
import { release } from "node:os";
import { delimiter, join } from "node:path";
import { tryNative } from "../../common/native.ts";
import { stateRoot } from "../../daemon/state-folder.ts";
import { fail, ok, warn } from "./check.ts";
import type { Finding } from "./check.ts";

/** How to get FUSE where it is missing, by the distributions' names. */
const INSTALL_FUSE =
  "install it: apt install fuse3 (Debian, Ubuntu), dnf install fuse3 (Fedora, Amazon Linux)";

export function machineFindings(): Finding[] {
  return [node(), kernel(), fuseDevice(), mountRight(), addon(), openFiles(), fusectl(), stateFolder()];
}

function node(): Finding {
  const major = Number(process.versions.node.split(".")[0]);
  const title = "Node";
  if (major >= 20) return ok("node", title, process.versions.node);
  return fail("node", title, `${process.versions.node} is too old`, "use Node 20 or later");
}

/** `6.18.44-x` -> 6.18; comparable as [major, minor]. */
export function kernelVersion(text: string): [number, number] {
  const [major = "0", minor = "0"] = text.split(/[.-]/);
  return [Number(major), Number(minor)];
}

function atLeast([major, minor]: [number, number], wantedMajor: number, wantedMinor: number): boolean {
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

/** What is used is settled with the kernel at each mount; this says what to expect. */
function kernel(): Finding {
  const version = kernelVersion(release());
  const title = "Kernel";
  if (!atLeast(version, 5, 15)) {
    return fail("kernel", title, `${release()} is too old`, "Linux 5.15 or later is needed");
  }
  const features = [
    ["passthrough", atLeast(version, 6, 9) && process.getuid?.() === 0],
    ["daemon takeover", atLeast(version, 6, 9)],
  ] as const;
  const has = features.filter(([, there]) => there).map(([name]) => name);
  const lacks = features.filter(([, there]) => !there).map(([name]) => name);
  const detail = [
    release(),
    has.length > 0 ? `with ${has.join(", ")}` : "",
    lacks.length > 0 ? `without ${lacks.join(", ")}` : "",
  ];
  return ok("kernel", title, detail.filter(Boolean).join(" "));
}

function fuseDevice(): Finding {
  const title = "/dev/fuse";
  try {
    closeSync(openSync("/dev/fuse", constants.O_RDWR));
    return ok("fuse_device", title, "can be opened");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT") {
      return fail(
        "fuse_device",
        title,
        "is missing",
        `run: modprobe fuse; in a container, give it the device: --device /dev/fuse --cap-add SYS_ADMIN; else ${INSTALL_FUSE}`,
      );
    }
    if (code === "ENODEV" || code === "ENXIO")
      return fail("fuse_device", title, "has no driver", "run: modprobe fuse");
    return fail(
      "fuse_device",
      title,
      `cannot be opened (${code})`,
      "let this user read and write it: chmod 666 /dev/fuse",
    );
  }
}

function mountRight(): Finding {
  const title = "Right to mount";
  if (process.getuid?.() === 0) return ok("mount_right", title, "root, by mount(2)");
  const program = findProgram("fusermount3");
  if (!program)
    return fail(
      "mount_right",
      title,
      "fusermount3 is missing, and only root mounts without it",
      INSTALL_FUSE,
    );
  const setuid = (statSync(program).mode & constants.S_IFMT) !== 0 && (statSync(program).mode & 0o4000) !== 0;
  if (!setuid)
    return fail("mount_right", title, `${program} is not setuid root`, `run as root: chmod u+s ${program}`);
  if (allowOtherPermitted()) return ok("mount_right", title, `${program}, also with --allow-other`);
  return ok("mount_right", title, `${program}; --allow-other needs user_allow_other in /etc/fuse.conf`);
}

function allowOtherPermitted(): boolean {
  try {
    return /^\s*user_allow_other\b/m.test(readFileSync("/etc/fuse.conf", "utf8"));
  } catch {
    return false;
  }
}

function findProgram(name: string): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/bin", "/bin", "/usr/sbin", "/sbin"];
  return folders
    .filter((folder) => folder.startsWith("/"))
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

function addon(): Finding {
  const title = "Native addon";
  if (tryNative()) return ok("addon", title, `built for ${process.platform}-${process.arch}`);
  return warn(
    "addon",
    title,
    `is not built for ${process.platform}-${process.arch}`,
    "install g++, make and python3 (apt install g++ make python3; dnf install gcc-c++ make python3) and run: npm rebuild hawser; until then mount with --channel fuse-native",
  );
}

/** Every open file of a volume may hold a descriptor. */
const FEW_OPEN_FILES = 65_536;

function openFiles(): Finding {
  const title = "Open files";
  const limit = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? "?";
  if (limit === "unlimited" || Number(limit) >= FEW_OPEN_FILES)
    return ok("open_files", title, `limit ${limit}`);
  return warn(
    "open_files",
    title,
    `limit ${limit}`,
    "raise the hard limit: nofile in /etc/security/limits.conf, or LimitNOFILE in the unit",
  );
}

function fusectl(): Finding {
  const title = "fusectl";
  try {
    statSync("/sys/fs/fuse/connections/.");
    if (
      /^\S+ \S+ \S+ \S+ \/sys\/fs\/fuse\/connections /m.test(readFileSync("/proc/self/mountinfo", "utf8"))
    ) {
      return ok("fusectl", title, "mounted");
    }
  } catch {
    // Not there: as good as not mounted.
  }
  return warn(
    "fusectl",
    title,
    "not mounted: a hung mount cannot be aborted",
    "run as root: mount -t fusectl none /sys/fs/fuse/connections",
  );
}

function stateFolder(): Finding {
  const root = stateRoot();
  const title = "State folder";
  for (let path = root; ; path = join(path, "..")) {
    try {
      accessSync(path, constants.W_OK | constants.X_OK);
      return ok("state_folder", title, root);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT" && path !== "/") continue;
      return fail(
        "state_folder",
        title,
        `${root} cannot be written`,
        "set HAWSER_STATE_DIR to a folder of yours",
      );
    }
  }
}
