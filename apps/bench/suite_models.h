#pragma once
#include "apps/bench/model_work.h"
#include "apps/bench/suite_ops.h"

namespace vitrine::apps {

enum class ModelSuite { train, infer, rpe };

/// Which rows `bench train`, `infer` and `rpe` measure. What is empty, or 0, is each of the suite's own.
struct ModelBenchOptions {
  ModelSuite suite = ModelSuite::train;
  std::string model;
  int64_t batch = 0;
  std::optional<std::string> rpe = {};
  bool compile = true;  ///< the peer may try its compiler
  bool graph = false;   ///< our calls are replays of captured graphs
};

/// The rows: training DeiT-Ti on 32 x 32 images, or inference of DeiT-S, each plain and with relative positions; or
/// DeiT-S with each method of iRPE, inferences and training steps (the paper's Fig. 10).
std::vector<ModelSetup> model_setups(const ModelBenchOptions& options);

/// Times each setup in each dtype, checked against and raced with the peer if there is one. A row with relative
/// positions is also raced with the plain model, and its memory compared.
std::vector<BenchRow> bench_models(const BenchOptions& options, const ModelBenchOptions& which);

}  // namespace vitrine::apps
