#include "apps/classifier/checkpoint_flags.h"

#include <CLI/CLI.hpp>

namespace vitrine::apps {

void CheckpointFlags::add_to(CLI::App& app) {
  CommonFlags::add_to(app);
  app.add_option("--checkpoint", checkpoint, "file written by vitrine train")->required();
  app.add_flag("--ema", ema, "use the averaged weights");
}

}  // namespace vitrine::apps
