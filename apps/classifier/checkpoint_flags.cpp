#include "apps/classifier/checkpoint_flags.h"

#include <CLI/CLI.hpp>

namespace vitrine::apps {

void add_name_hash_flag(CLI::App& app, data::NameHash& hash) {
  app.add_flag_function(
      "--ignore-name-hash",
      [&hash](int64_t times) { hash = times > 0 ? data::NameHash::ignore : data::NameHash::verify; },
      "read NAME-xxxxxxxx.pth although its SHA-256 does not begin with xxxxxxxx");
}

void CheckpointFlags::add_to(CLI::App& app) {
  CommonFlags::add_to(app);
  app.add_option("--checkpoint,--weights", checkpoint,
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
  app.add_option("--pos-resize", weights.pos_resize,
                 "of weights alone of another size: bicubic, as DeiT resizes positions, or bicubic-aa, as timm")
      ->capture_default_str()
      ->check(CLI::IsMember({"bicubic", "bicubic-aa"}));
  add_name_hash_flag(app, hash);
  app.add_option("--head-fusion", head_fusion,
                 "of a distilled model: the mean of both heads' logits, or (softmax) of their softmax, as in the paper")
      ->capture_default_str()
      ->check(CLI::IsMember({"logits", "softmax"}));
}

LoadedClassifier CheckpointFlags::load() const {
  LoadedClassifier loaded = load_classifier(checkpoint, device(), ema, weights, hash);
  const bool softmax = head_fusion == "softmax";
  check<UsageError>(!softmax || loaded.model->distilled(), "{}: {} has one head; leave out --head-fusion", checkpoint,
                    loaded.spec.model);
  loaded.model->fusion = softmax ? models::HeadFusion::softmax : models::HeadFusion::logits;
  return loaded;
}

}  // namespace vitrine::apps
