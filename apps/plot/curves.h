#pragma once
#include <cstdint>
#include <string>
#include <vector>

/// Pictures of a training run. Helpers of commands, not a command.
namespace vitrine::apps {

/// One epoch, a line of metrics.jsonl. A figure that was not measured, or is not finite, is NaN and leaves a gap.
struct EpochRow {
  int64_t epoch = 0;
  double train_loss = 0, test_loss = 0;
  double test_acc1 = 0;  ///< percent
  double lr = 0;
};

/// Training curves as an SVG document that needs nothing else: losses, with the learning rate in grey at a scale of its
/// own, beside the accuracy with its best epoch marked. From one epoch to thousands, in ascending order.
std::string curves_svg(const std::vector<EpochRow>& rows, const std::string& title);

}  // namespace vitrine::apps
