import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { open } from "node:fs/promises";
import { expect } from "vitest";
import { GiB, MiB } from "../../src/common/units.ts";
import { FILES, PROGRAM } from "../support/conformance-tree.ts";
import { python } from "../support/python.ts";
import { patternBytes } from "../support/sparse-content.ts";
import { conformance } from "./table.ts";

const { middling, huge } = FILES;

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Ranges of a file from a generator that repeats: offsets anywhere, also beyond the end, lengths up to 600 KiB. */
function ranges(sizeBytes: number, count: number): [number, number][] {
  let state = 12_345;
  const next = (below: number): number => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * below);
  };
  return Array.from({ length: count }, () => [next(sizeBytes + 10_000), 1 + next(600_000)]);
}

function expected(seed: number, sizeBytes: number, offset: number, length: number): Buffer {
  return patternBytes(seed, offset, Math.max(0, Math.min(length, sizeBytes - offset)));
}

conformance("reading", {}, ({ row, rowAlone }) => {
  row("whole files of 0, 1, 1 MiB - 1, 1 MiB, 1 MiB + 1 and 12 MiB are byte-identical", (mount) => {
    for (const [name, { sizeBytes, seed }] of Object.entries(FILES)) {
      if (sizeBytes > GiB) continue;
      const bytes = readFileSync(mount.at("files", name));
      expect(bytes.length, name).toBe(sizeBytes);
      expect(bytes.equals(patternBytes(seed, 0, sizeBytes)), name).toBe(true);
    }
  });

  row("preads at any offset and size give exactly the bytes there", async (mount) => {
    await using file = await open(mount.at("files/middling"));
    for (const [offset, length] of ranges(middling.sizeBytes, 200)) {
      const into = Buffer.alloc(length);
      const { bytesRead } = await file.read(into, 0, length, offset);
      const wanted = expected(middling.seed, middling.sizeBytes, offset, length);
      expect(bytesRead).toBe(wanted.length);
      expect(into.subarray(0, bytesRead).equals(wanted)).toBe(true);
    }
  });

  row("a read across the end is short, and one beyond it is empty", (mount) => {
    const fd = openSync(mount.at("files/mib-more"), "r");
    const into = Buffer.alloc(100);
    expect(readSync(fd, into, 0, 100, MiB - 10)).toBe(11);
    expect(readSync(fd, into, 0, 100, MiB + 1)).toBe(0);
    expect(readSync(fd, into, 0, 100, 4 * GiB)).toBe(0);
    closeSync(fd);
  });

  row("reads around 4 GiB and at the end of a 5 GiB file are exact", (mount) => {
    const fd = openSync(mount.at("files/huge"), "r");
    for (const offset of [0, 2 * GiB - 5, 4 * GiB - 7, 5 * GiB - 1000]) {
      const into = Buffer.alloc(70_000);
      const count = readSync(fd, into, 0, into.length, offset);
      const wanted = expected(huge.seed, huge.sizeBytes, offset, into.length);
      expect(count).toBe(wanted.length);
      expect(into.subarray(0, count).equals(wanted)).toBe(true);
    }
    closeSync(fd);
  });

  row("tail reads the end of a 5 GiB file by seeking", (mount) => {
    const tail = execFileSync("tail", ["-c", "100", mount.at("files/huge")]);
    expect(tail.equals(patternBytes(huge.seed, huge.sizeBytes - 100, 100))).toBe(true);
  });

  row("O_DIRECT reads of aligned ranges are exact, up to the end", async (mount) => {
    const length = 3 * MiB;
    const hashes = await python<string[]>(
      `
fd = os.open(args[0], os.O_RDONLY | os.O_DIRECT)
buffer = mmap.mmap(-1, args[1])
def digest(offset):
    count = os.preadv(fd, [buffer], offset)
    return hashlib.sha256(buffer[:count]).hexdigest()
answer([digest(offset) for offset in args[2]])
`,
      mount.at("files/middling"),
      length,
      [0, 4096, 5 * MiB, 11 * MiB],
    );
    const wanted = [0, 4096, 5 * MiB, 11 * MiB].map((offset) =>
      sha256(expected(middling.seed, middling.sizeBytes, offset, length)),
    );
    expect(hashes).toEqual(wanted);
  });

  row("private and shared mappings show the file, at random pages and at the end", async (mount) => {
    const offsets = [0, 4095, 5 * MiB + 3, 12 * MiB];
    const slices = await python<string[][]>(
      `
def slices(flags):
    with open(args[0], "rb") as file:
        view = mmap.mmap(file.fileno(), 0, flags, mmap.PROT_READ)
        return [view[offset:offset + 1000].hex() for offset in args[1]]
answer([slices(mmap.MAP_SHARED), slices(mmap.MAP_PRIVATE)])
`,
      mount.at("files/middling"),
      offsets,
    );
    const wanted = offsets.map((offset) =>
      expected(middling.seed, middling.sizeBytes, offset, 1000).toString("hex"),
    );
    expect(slices).toEqual([wanted, wanted]);
  });

  row("sixteen readers of one file see the same bytes", async (mount) => {
    const files = await Promise.all(Array.from({ length: 16 }, () => open(mount.at("files/middling"))));
    const hashes = await Promise.all(
      files.map(async (file) => {
        const bytes = await file.readFile();
        await file.close();
        return sha256(bytes);
      }),
    );
    expect(new Set(hashes)).toEqual(new Set([sha256(patternBytes(middling.seed, 0, middling.sizeBytes))]));
  });

  row("four processes read different files at once", async (mount) => {
    const names = ["mib-less", "mib", "mib-more", "middling"] as const;
    const hashes = await Promise.all(
      names.map((name) =>
        python<string>(
          "answer(hashlib.sha256(open(args[0], 'rb').read()).hexdigest())",
          mount.at("files", name),
        ),
      ),
    );
    expect(hashes).toEqual(
      names.map((name) => sha256(patternBytes(FILES[name].seed, 0, FILES[name].sizeBytes))),
    );
  });

  row("readv fills several buffers, and sendfile and splice copy out", async (mount) => {
    const result = await python<[string, string]>(
      `
fd = os.open(args[0], os.O_RDONLY)
parts = [bytearray(10), bytearray(70000), bytearray(3)]
os.preadv(fd, parts, 12345)
out = os.memfd_create("out")
sent = 0
while sent < args[1]:
    count = os.sendfile(out, fd, sent, args[1] - sent)
    if count == 0: break
    sent += count
os.lseek(out, 0, 0)
answer([b"".join(parts).hex(), hashlib.sha256(os.read(out, sent + 1)).hexdigest()])
`,
      mount.at("files/mib-more"),
      MiB + 1,
    );
    const { seed } = FILES["mib-more"];
    expect(result).toEqual([
      patternBytes(seed, 12_345, 70_013).toString("hex"),
      sha256(patternBytes(seed, 0, MiB + 1)),
    ]);
  });

  row("SEEK_END, SEEK_DATA and SEEK_HOLE of a file without holes", async (mount) => {
    const places = await python<unknown[]>(
      `
fd = os.open(args[0], os.O_RDONLY)
size = os.lseek(fd, 0, os.SEEK_END)
answer([size, os.lseek(fd, 100, os.SEEK_DATA), os.lseek(fd, 100, os.SEEK_HOLE),
        name_of(lambda: os.lseek(fd, size, os.SEEK_DATA))])
`,
      mount.at("files/mib-more"),
    );
    expect(places).toEqual([MiB + 1, 100, MiB + 1, "ENXIO"]);
  });

  row("a program on the mount runs", (mount) => {
    expect(readFileSync(mount.at("files/program"), "utf8")).toBe(PROGRAM);
    expect(execFileSync(mount.at("files/program"), ["arguments"], { encoding: "utf8" })).toBe(
      "ran with arguments\n",
    );
    expect(() => execFileSync(mount.at("files/one"))).toThrow("EACCES");
  });

  row("cp and cmp agree on every file", (mount) => {
    for (const name of ["empty", "one", "mib-less", "mib", "mib-more", "middling"]) {
      execFileSync("cmp", [mount.at("files", name), mount.at("files", name)]);
    }
  });

  rowAlone("directIo opens read the same bytes", async (start) => {
    await using mount = await start({ filesystem: { directIo: true } });
    expect(
      readFileSync(mount.at("files/middling")).equals(patternBytes(middling.seed, 0, middling.sizeBytes)),
    ).toBe(true);
  });

  rowAlone("every read's buffers are released, once", async (start) => {
    await using mount = await start();
    readFileSync(mount.at("files/middling"));
    const { counts } = await mount.call("stats");
    expect(counts["readReleased"]).toBe(counts["read"]);
  });

  rowAlone(
    "a second open of an unchanged file is served from the page cache",
    async (start) => {
      await using mount = await start({ filesystem: { keepCache: true } });
      readFileSync(mount.at("files/mib"));
      const before = (await mount.call("stats")).counts["read"];
      readFileSync(mount.at("files/mib"));
      expect((await mount.call("stats")).counts["read"]).toBe(before);
    },
    { "fuse-native": "F3: the package cannot answer an open with keep_cache" },
  );
});
