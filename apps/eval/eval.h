#pragma once
#include "apps/classifier/checkpoint_flags.h"

namespace vitrine::apps {

struct EvalFlags : CheckpointFlags {
  std::string data;  ///< empty: what the model was trained on
  int64_t batch_size = 64;
  int workers = 1;
  double crop = 0;  ///< of a folder's images; 0: as the model was trained
};

/// The command `eval`: prints accuracy and loss of a checkpoint on the test images. @returns an Exit
int eval(const EvalFlags& flags);

}  // namespace vitrine::apps
