#include "apps/classifier/spec.h"

#include <cmath>

#include "core/error.h"

namespace vitrine::apps {
namespace {

using Json = nlohmann::ordered_json;

/// Runs `read`; what goes wrong in it is a malformed document.
template <class F>
auto reading(const std::string& where, F&& read) {
  try {
    return read();
  } catch (const Json::exception& e) {
    throw IoError(format("{}: malformed description of the model: {}", where, e.what()));
  } catch (const ValueError& e) {
    throw IoError(format("{}: {}", where, e.what()));
  }
}

}  // namespace

Json ClassifierSpec::json() const {
  const data::Preprocessing& p = preprocessing;
  return {{"format", 1},
          {"model", model},
          {"num_classes", options.num_classes.value()},
          {"image_size", options.image_size.value()},
          {"rpe", options.rpe.value_or("")},
          {"ape", options.ape ? models::to_string(*options.ape) : ""},
          {"drop_path", options.drop_path},
          {"dropout", options.dropout},
          {"data", data},
          {"data_seed", data_seed},
          {"preprocessing",
           {{"height", p.height},
            {"width", p.width},
            {"grey", p.grey},
            {"mean", p.mean},
            {"std", p.std},
            {"crop", p.crop}}},
          {"labels", labels}};
}

ClassifierSpec ClassifierSpec::from_json(const Json& document, const std::string& where) {
  return reading(where, [&] {
    check<IoError>(document.at("format") == 1, "{}: format {} of a newer program; this one reads 1", where,
                   document.at("format").dump());
    ClassifierSpec spec;
    spec.model = document.at("model").get<std::string>();
    spec.options.num_classes = document.at("num_classes").get<int64_t>();
    spec.options.image_size = document.at("image_size").get<int64_t>();
    if (const auto rpe = document.at("rpe").get<std::string>(); !rpe.empty()) spec.options.rpe = rpe;
    if (const auto ape = document.at("ape").get<std::string>(); !ape.empty()) spec.options.ape = models::parse_ape(ape);
    spec.options.drop_path = document.at("drop_path").get<double>();
    spec.options.dropout = document.at("dropout").get<double>();
    spec.data = document.at("data").get<std::string>();
    spec.data_seed = document.at("data_seed").get<uint64_t>();
    const Json& p = document.at("preprocessing");
    spec.preprocessing = {.height = p.at("height").get<int64_t>(),
                          .width = p.at("width").get<int64_t>(),
                          .grey = p.at("grey").get<bool>(),
                          .mean = p.at("mean").get<std::array<double, 3>>(),
                          .std = p.at("std").get<std::array<double, 3>>(),
                          .crop = p.value("crop", 1.0)};  // files from before images had sizes of their own
    check<IoError>(spec.preprocessing.crop > 0 && spec.preprocessing.crop <= 1, "{}: a crop of {}", where,
                   spec.preprocessing.crop);
    (void)data::PixelTable(spec.preprocessing);  // refuses a std of 0 and the like
    spec.labels = document.at("labels").get<std::vector<std::string>>();
    constexpr int64_t kMost = 1 << 20;
    const int64_t classes = *spec.options.num_classes, size = *spec.options.image_size;
    check<IoError>(classes > 0 && classes < kMost && int64_t(spec.labels.size()) == classes,
                   "{}: {} classes with {} labels", where, classes, spec.labels.size());
    check<IoError>(size > 0 && size <= 4096 && spec.preprocessing.height == size && spec.preprocessing.width == size,
                   "{}: image size {} with preprocessing to {} x {}", where, size, spec.preprocessing.height,
                   spec.preprocessing.width);
    return spec;
  });
}

std::unique_ptr<models::Classifier> ClassifierSpec::make(Device device, Generator& rng) const {
  return models::make_classifier({.device = device, .rng = &rng}, model, options);
}

Json metadata_json(const data::Safetensors& file, const std::string& name, const char* key) {
  for (const auto& [k, value] : file.metadata)
    if (k == key) {
      const Json document = Json::parse(value, nullptr, false);
      check<IoError>(document.is_object(), "{}: the metadata '{}' is not a JSON object", name, key);
      return document;
    }
  throw IoError(format("{}: is no checkpoint of this program: it has no metadata '{}'", name, key));
}

nn::NamedTensors tensors_with_prefix(const data::Safetensors& file, const std::string& prefix) {
  nn::NamedTensors list;
  for (const auto& [name, t] : file.tensors) {
    if (prefix.empty() && (name.starts_with(kOptimizerPrefix) || name.starts_with(kEmaPrefix))) continue;
    if (name.starts_with(prefix)) list.emplace_back(name.substr(prefix.size()), t);
  }
  return list;
}

LoadedClassifier load_classifier(const std::string& file, Device device, bool ema) {
  const data::Safetensors content = data::read_safetensors(file);
  LoadedClassifier loaded;
  loaded.spec = ClassifierSpec::from_json(metadata_json(content, file, kSpecKey), file);
  const nn::NamedTensors weights = tensors_with_prefix(content, ema ? kEmaPrefix : "");
  check<IoError>(!ema || !weights.empty(), "{}: holds no averaged weights; train with --ema", file);
  Generator unused;
  reading(file, [&] {
    loaded.model = loaded.spec.make(device, unused);
    try {
      loaded.model->load_state_dict(weights);
    } catch (const ShapeError& e) {
      throw IoError(format("{}: {}", file, e.what()));
    }
    return 0;
  });
  loaded.model->eval();
  return loaded;
}

}  // namespace vitrine::apps
