#pragma once
#include "apps/classifier/spec.h"
#include "apps/cli.h"

namespace vitrine::apps {

/// --ignore-name-hash
void add_name_hash_flag(CLI::App& app, data::NameHash& hash);

/// Flags of commands that take a trained classifier.
struct CheckpointFlags : CommonFlags {
  std::string checkpoint;
  bool ema = false;
  WeightsOf weights;
  data::NameHash hash = data::NameHash::verify;

  void add_to(CLI::App& app);
  /// @throws as load_classifier
  LoadedClassifier load() const { return load_classifier(checkpoint, device(), ema, weights, hash); }
};

}  // namespace vitrine::apps
