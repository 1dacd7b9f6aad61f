#pragma once
#include <optional>
#include <string>
#include <vector>

#include "apps/classifier/spec.h"
#include "apps/inspect/terms.h"
#include "core/trace.h"
#include "nn/attention.h"

/// What `vitrine inspect` finds out about a model and one image.
namespace vitrine::apps {

/// One attention layer.
struct AttentionStudy {
  std::string path;
  int64_t heads = 0;
  PackedRows probabilities = {}, content = {};  ///< rows [heads, queries] of [tokens]
  PackedRows rpe = {};                          ///< likewise; none without an encoding of the logits
  std::vector<double> share = {};               ///< rpe_share of each head; none likewise
};

/// Moments of the residual stream at one place.
struct StreamRow {
  std::string path, place;
  double mean = 0, std = 0, largest = 0;
};

struct ParameterRow {
  std::string name;
  Shape shape;
  double norm = 0, gradient_norm = 0;
};

/// One forward and backward pass.
struct TapeStudy {
  struct MemoryPoint {
    double us;
    int64_t live_bytes;
  };
  std::vector<trace::Event> forward, backward;  ///< ops, without what ops call
  double forward_us = 0, backward_us = 0;
  std::vector<MemoryPoint> memory;  ///< at the end of each module, and before each module's backward
  int64_t start_bytes = 0, peak_bytes = 0;
};

struct Guess {
  int64_t index;
  double probability;
};

struct Study {
  std::vector<Guess> top;  ///< at most 5, best first
  nn::TokenGrid grid;
  std::optional<ops::RpeConfig> rpe;
  std::vector<int64_t> queries;  ///< tokens whose rows the maps hold
  std::vector<AttentionStudy> attention;
  std::vector<StreamRow> streams;
  std::vector<ParameterRow> parameters;  ///< gradients of the best logit
  TapeStudy tape;
};

/// Bytes of maps that a page may hold, before base64.
constexpr int64_t kMapBudget = int64_t(6) << 20;

/// Runs the model: once to warm up, five times forward and backward from the best logit, of which the fastest is the
/// tape, and once watched, where attention makes its maps.
/// @param input  [1, 3, S, S] on the model's device, in the dtype to compute in
Study study_classifier(models::Classifier& model, const Tensor& input, int64_t map_budget = kMapBudget);

}  // namespace vitrine::apps
