#include "apps/train/objective.h"

#include "nn/distillation.h"
#include "ops/binary_cross_entropy/binary_cross_entropy.h"
#include "ops/cross_entropy/cross_entropy.h"

namespace vitrine::apps {
namespace {

std::unique_ptr<models::Classifier> load_teacher(const TrainConfig& config, const TrainRun& run,
                                                 const ClassifierSpec& student) {
  const std::string& file = config.teacher_path;
  const data::Safetensors content = data::read_checkpoint(file, {}, run.hash).content;
  const bool described = states_model(content);
  check<UsageError>(described || !config.teacher_model.empty(), "{}: holds weights alone; give --teacher-model NAME",
                    file);
  WeightsOf alone;
  if (!described) alone.model = config.teacher_model, alone.image_size = *student.options.image_size;
  LoadedClassifier teacher = load_classifier(content, file, run.device, false, alone);
  const ClassifierSpec& spec = teacher.spec;
  check<UsageError>(config.teacher_model.empty() || config.teacher_model == spec.model,
                    "{}: is a checkpoint of {}, not of --teacher-model {}", file, spec.model, config.teacher_model);
  const int64_t classes = teacher.model->num_classes(), size = teacher.model->image_size();
  check<UsageError>(classes == *student.options.num_classes && size == *student.options.image_size,
                    "{}: the teacher has {} classes at {} x {} pixels, the student {} at {} x {}", file, classes, size,
                    size, *student.options.num_classes, *student.options.image_size, *student.options.image_size);
  const data::Preprocessing &theirs = spec.preprocessing, &own = student.preprocessing;
  check<UsageError>(!described || (theirs.mean == own.mean && theirs.std == own.std && spec.labels == student.labels),
                    "{}: the teacher was trained on other classes or on images of another mean and deviation", file);
  return std::move(teacher.model);
}

}  // namespace

Objective::Objective(const TrainConfig& config, const TrainRun& run, const ClassifierSpec& student,
                     const models::Classifier& model)
    : config_(config), device_(run.device) {
  check<UsageError>(!student.multi_label || config.bce_loss,
                    "train: images of {} may have several classes; that needs --bce-loss", config.data);
  if (config.distillation_type == "none") return;
  check<UsageError>(model.distilled(),
                    "train: --distillation-type {} needs a model with a distillation token, as "
                    "deit_tiny_distilled_patch16_224; {} has none",
                    config.distillation_type, config.model);
  teacher_ = load_teacher(config, run, student);
}

Tensor Objective::target_loss(const Tensor& logits, const data::Batch& batch) const {
  if (config_.bce_loss) return ops::binary_cross_entropy(logits, batch.soft_targets.to(device_));
  if (batch.soft_targets.defined()) return ops::cross_entropy(logits, batch.soft_targets.to(device_));
  return ops::cross_entropy(logits, batch.targets.to(device_), {.label_smoothing = config_.label_smoothing});
}

Tensor Objective::operator()(models::Classifier& model, const data::Batch& batch) const {
  const Tensor images = batch.images.to(device_).to(parse_dtype(config_.precision));
  if (!teacher_) return target_loss(model.logits(images).to(Dtype::f32), batch);
  Tensor answers;
  {
    const NoGrad no_grad;
    answers = teacher_->logits(images).to(Dtype::f32);
  }
  const auto [own, taught] = model.heads(images);
  return nn::distillation_loss(target_loss(own.to(Dtype::f32), batch), taught.to(Dtype::f32), answers,
                               {.type = nn::parse_distillation(config_.distillation_type),
                                .alpha = config_.distillation_alpha,
                                .tau = config_.distillation_tau,
                                .mean_of_rows = config_.distillation_norm == "batch"});
}

}  // namespace vitrine::apps
