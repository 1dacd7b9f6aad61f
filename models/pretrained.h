#pragma once
#include "models/classifier.h"

/// Weights that come from elsewhere, of models that are nearly this one: what the reference does on --finetune
/// (deit main.py), but nothing silently.
namespace vitrine::models {

enum class Fit {
  evaluate,   ///< every value must come from the weights; positions may be resized
  fine_tune,  ///< heads, the distillation token and relative position tables may also stay as they were drawn
};

/// What load_pretrained did. loaded, resized and initial together are the names of the model; left_out are names of the
/// weights.
struct PretrainedReport {
  struct Note {
    std::string name, what;
  };
  std::vector<std::string> loaded;  ///< as they are
  std::vector<Note> resized;        ///< "14 x 14 to 24 x 24 positions"
  std::vector<Note> left_out;       ///< "is [1000, 192], the model's is [10, 192]"
  std::vector<std::string> initial;
  std::string text() const;  ///< one line
};

/// Copies weights into the model by their names. Allowed are:
///
///     pos_embed of another grid, or with another number of extra tokens: resized (resize_positions)
///     Fit::fine_tune: head and head_dist of another number of classes, or not there: left as drawn
///     Fit::fine_tune: dist_token and head_dist on one side only (distilled to plain, plain to distilled)
///     Fit::fine_tune: weights without relative positions for a model with them, whose tables start at zero
///
/// @throws ShapeError naming every other name that is missing, unexpected or of another shape; nothing is written then
PretrainedReport load_pretrained(Classifier& model, const nn::NamedTensors& weights, Fit fit);

/// Position embeddings for another grid: rows of extra tokens are kept, the others are an image that is resized
/// bicubically in f32 (a = -0.75, without antialiasing; deit main.py).
/// @param positions  [1, from_skip + g g, C]
/// @param own        [1, to.tokens(), C], the model's: rows of extra tokens that `positions` lacks are taken from it
/// @return           [1, to.tokens(), C], f32
/// @throws ShapeError unless the rows behind the extra tokens are those of a square grid
Tensor resize_positions(const Tensor& positions, int64_t from_skip, const nn::TokenGrid& to, const Tensor& own);

/// The names without "module.", which data-parallel wrappers put in front of each.
nn::NamedTensors without_wrapper(nn::NamedTensors weights);

}  // namespace vitrine::models
