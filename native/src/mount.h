// Mount: how a /dev/fuse descriptor becomes a mount, and how a mount goes away.
//
// Nothing here looks at what is mounted: a process must never touch the mount it serves.
#pragma once

#include <napi.h>

namespace hawser {

void DefineMount(Napi::Env env, Napi::Object exports);

}  // namespace hawser
