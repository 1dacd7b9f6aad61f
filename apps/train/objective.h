#pragma once
#include <memory>

#include "apps/classifier/spec.h"
#include "apps/train/config.h"
#include "data/loader.h"

namespace vitrine::apps {

/// What a step of training makes smaller: the loss of the targets and, with a teacher, the distillation loss.
class Objective {
 public:
  /// Loads the teacher, if there is one.
  /// @param student  what the teacher must agree with
  /// @throws UsageError if the model has no head for a teacher, or if the teacher sees other inputs or classes; IoError
  ///         if its file cannot be read
  Objective(const TrainConfig& config, const TrainRun& run, const ClassifierSpec& student,
            const models::Classifier& model);

  /// The mean loss over a batch, a scalar f32: cross-entropy with the mixed targets or, where nothing is mixed, with
  /// class ids and label smoothing (deit 4.6); or binary cross-entropy with data::binary_targets. Of a model with two
  /// heads, it is that of their mean, as in evaluation; with a teacher, that of the first, and the second learns from
  /// the teacher, who sees the same (mixed) images.
  Tensor operator()(models::Classifier& model, const data::Batch& batch) const;

 private:
  Tensor target_loss(const Tensor& logits, const data::Batch& batch) const;

  TrainConfig config_;
  Device device_;
  std::unique_ptr<models::Classifier> teacher_;
};

}  // namespace vitrine::apps
