// Files: what Node's fs module cannot do to an open file.
#pragma once

#include <napi.h>

namespace hawser {

void DefineFiles(Napi::Env env, Napi::Object exports);

}  // namespace hawser
