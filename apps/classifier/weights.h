#pragma once
#include <nlohmann/json.hpp>

#include "data/checkpoint/checkpoint.h"
#include "models/pretrained.h"

/// Weights without a description, as PyTorch programs write them. Shared by train, eval, predict and inspect.
namespace vitrine::apps {

/// What belongs to the weights, without an optimizer's state and averaged weights beside them, under official names.
nn::NamedTensors weights_of(const data::Safetensors& content);

/// load_pretrained with the file's name in front of what goes wrong; says on stderr what was loaded.
/// @throws IoError if the weights do not fit
models::PretrainedReport load_weights(models::Classifier& model, const nn::NamedTensors& weights, models::Fit fit,
                                      const std::string& file,
                                      models::PositionResize how = models::PositionResize::bicubic);

/// {"loaded": [names], "resized": [{"name", "what"}], "left_out": [{"name", "what"}], "initial": [names]}
nlohmann::ordered_json report_json(const models::PretrainedReport& report);

}  // namespace vitrine::apps
