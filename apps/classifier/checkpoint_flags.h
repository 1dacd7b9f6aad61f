#pragma once
#include "apps/classifier/spec.h"
#include "apps/cli.h"

namespace vitrine::apps {

/// Flags of commands that take a trained classifier.
struct CheckpointFlags : CommonFlags {
  std::string checkpoint;
  bool ema = false;
  WeightsOf weights;

  void add_to(CLI::App& app);
  /// @throws as load_classifier
  LoadedClassifier load() const { return load_classifier(checkpoint, device(), ema, weights); }
};

}  // namespace vitrine::apps
