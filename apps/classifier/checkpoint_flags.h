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
  std::string head_fusion = "logits";

  void add_to(CLI::App& app);
  /// @throws as load_classifier; UsageError if heads are to be joined and the model has one
  LoadedClassifier load() const;
};

}  // namespace vitrine::apps
