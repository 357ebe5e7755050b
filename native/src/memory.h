// Memory: where JS's buffers lie, and whether the system has given their pages yet.
#pragma once

#include <napi.h>

namespace hawser {

void DefineMemory(Napi::Env env, Napi::Object exports);

}  // namespace hawser
