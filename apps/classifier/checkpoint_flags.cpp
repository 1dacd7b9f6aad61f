#include "apps/classifier/checkpoint_flags.h"

#include <CLI/CLI.hpp>

namespace vitrine::apps {

void CheckpointFlags::add_to(CLI::App& app) {
  CommonFlags::add_to(app);
  app.add_option("--checkpoint", checkpoint,
                 "file written by vitrine train, or weights alone with --model: .safetensors, .pth, .npz")
      ->required();
  app.add_flag("--ema", ema, "use the averaged weights");
  app.add_option("--model", weights.model, "of weights alone: the model that they are of; see vitrine models");
  app.add_option("--image-size", weights.image_size, "of weights alone: side of the input (default: the model's)")
      ->check(CLI::Range(1, 4096));
  app.add_option("--rpe", weights.rpe, "of weights alone: relative positions, as those of vitrine train");
  app.add_option("--ape", weights.ape, "of weights alone: learned, sincos, none or peg");
  app.add_option("--key", weights.key,
                 "entry of a .pth file's dict (default: the dict itself, model, state_dict, ...)");
}

}  // namespace vitrine::apps
