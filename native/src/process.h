// Process: replacing this process's image, and its limit of open files.
#pragma once

#include <napi.h>

namespace hawser {

void DefineProcess(Napi::Env env, Napi::Object exports);

}  // namespace hawser
