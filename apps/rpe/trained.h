#pragma once
#include "apps/cli.h"

namespace vitrine::apps {

/// Flags of `vitrine rpe --checkpoint`: the terms of a trained classifier in place of the buckets of a method.
struct TrainedRpe {
  std::string checkpoint, patches, image;
  int64_t images = 64;
  bool ema = false;

  void add_to(CLI::App& app);
  /// Draws the maps into `png`, or with --json prints them.
  /// @throws UsageError, IoError if a flag or file does not fit
  int run(const CommonFlags& common, const std::string& png) const;
};

}  // namespace vitrine::apps
