#pragma once
#include "apps/bench/model_work.h"
#include "apps/bench/suite_ops.h"

namespace vitrine::apps {

/// Which rows `bench train` and `bench infer` measure. What is empty, or 0, is each of the suite's own.
struct ModelBenchOptions {
  bool training = false;
  std::string model;
  int64_t batch = 0;
  std::optional<std::string> rpe = {};
  bool compile = true;  ///< the peer may try its compiler
};

/// The rows: training DeiT-Ti on 32 x 32 images, or inference of DeiT-S, each plain and with relative positions.
std::vector<ModelSetup> model_setups(const ModelBenchOptions& options);

/// Times each setup in each dtype, checked against and raced with the peer if there is one. A row with relative
/// positions is also raced with the plain model.
std::vector<BenchRow> bench_models(const BenchOptions& options, const ModelBenchOptions& which);

}  // namespace vitrine::apps
