#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/checkpoint/safetensors.h"
#include "data/datasets/dataset.h"
#include "models/classifier.h"

/// A trained classifier as a file: weights under their official names, and in the metadata what turns an image into an
/// input and an output into a label. Shared by train, eval, predict and inspect.
namespace vitrine::apps {

struct ClassifierSpec {
  std::string model;                       ///< a name of models::classifier_names()
  models::ClassifierOptions options = {};  ///< num_classes and image_size are set
  std::string data;                        ///< the data string it was trained on, and the seed of generated data
  uint64_t data_seed = 0;
  data::Preprocessing preprocessing;
  std::vector<std::string> labels;

  nlohmann::ordered_json json() const;
  /// @throws IoError, beginning with `where`, unless the document is one that json() gives
  static ClassifierSpec from_json(const nlohmann::ordered_json& document, const std::string& where);
  std::unique_ptr<models::Classifier> make(Device device, Generator& rng) const;
};

/// Metadata keys of a checkpoint.
inline constexpr const char* kSpecKey = "vitrine.classifier";
inline constexpr const char* kTrainingKey = "vitrine.training";
/// Prefixes of what stands beside the weights in checkpoint.safetensors.
inline constexpr const char* kOptimizerPrefix = "optimizer.";
inline constexpr const char* kEmaPrefix = "ema.";

/// The value of a metadata key. @throws IoError naming the file if it is not there or no JSON object
nlohmann::ordered_json metadata_json(const data::Safetensors& file, const std::string& name, const char* key);
/// The tensors whose names begin with `prefix`, without it; for "" those that are weights.
nn::NamedTensors tensors_with_prefix(const data::Safetensors& file, const std::string& prefix);

/// A model with its weights, in evaluation mode.
struct LoadedClassifier {
  ClassifierSpec spec;
  std::unique_ptr<models::Classifier> model;
};
/// @param ema  take the averaged weights
/// @throws IoError if the file is no classifier checkpoint, or its weights do not fit the model that it names
LoadedClassifier load_classifier(const std::string& file, Device device, bool ema = false);

}  // namespace vitrine::apps
