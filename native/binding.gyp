{
  # The addon lives below native/, never at the package root: npm would otherwise build it by itself, and its failure
  # would fail the installation. native/install.js builds it and explains what is missing.
  "targets": [
    {
      "target_name": "hawser",
      "sources": [
        "src/addon.cc",
        "src/arena.cc",
        "src/async.cc",
        "src/block-file.cc",
        "src/cached-read.cc",
        "src/connection.cc",
        "src/crc32c.cc",
        "src/crc64nvme.cc",
        "src/files.cc",
        "src/memory.cc",
        "src/mount.cc",
        "src/notifier.cc",
        "src/open-table.cc",
        "src/place-file.cc",
        "src/process.cc",
        "src/reader.cc",
        "src/wakeup.cc",
        "src/writer.cc"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=8", "NAPI_CPP_EXCEPTIONS", "_FILE_OFFSET_BITS=64"],
      "cflags!": ["-fno-exceptions"],
      "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17"],
      "cflags_cc": ["-std=gnu++17", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden", "-pthread"],
      "ldflags": ["-pthread"]
    }
  ]
}
