#pragma once
#include "models/classifier.h"

/// Weights that come from elsewhere, of models that are nearly this one: what the reference does on --finetune
/// (deit main.py), but nothing silently.
namespace vitrine::models {

enum class Fit {
  evaluate,   ///< every value must come from the weights; positions may be resized
  fine_tune,  ///< heads, the distillation token and relative position tables may also stay as they were drawn
};

/// How positions become those of another grid. Fine-tuning at 384 gives slightly other results with each.
enum class PositionResize {
  bicubic,    ///< DeiT's program: a = -0.75, four neighbours also when the grid shrinks
  bicubic_aa  ///< timm: a = -0.5, with antialiasing
};
/// "bicubic", "bicubic-aa".
std::string to_string(PositionResize how);
/// @throws ValueError naming them
PositionResize parse_position_resize(const std::string& text);

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

/// Copies weights into the model by their names (official_names). Allowed are:
///
///     pos_embed of another grid, or with another number of extra tokens: resized (resize_positions)
///     relative_position_bias_table of another window: resized (resize_bias_table)
///     Fit::fine_tune: head and head_dist of another number of classes, or not there: left as drawn
///     Fit::fine_tune: dist_token and head_dist on one side only (distilled to plain, plain to distilled)
///     Fit::fine_tune: weights without relative positions for a model with them, whose tables start at zero
///     relative_position_index, attn_mask, which follow from the configuration, and a pooler: left out
///
/// @throws ShapeError naming every other name that is missing, unexpected or of another shape, or saying that the
/// weights are of DeiT III; nothing is written then
PretrainedReport load_pretrained(Classifier& model, const nn::NamedTensors& weights, Fit fit,
                                 PositionResize how = PositionResize::bicubic);

/// Position embeddings for another grid: rows of extra tokens are kept, the others are an image that is resized in f32.
/// @param positions  [1, from_skip + g g, C]
/// @param own        [1, to.tokens(), C], the model's: rows of extra tokens that `positions` lacks are taken from it
/// @return           [1, to.tokens(), C], f32
/// @throws ShapeError unless the rows behind the extra tokens are those of a square grid
Tensor resize_positions(const Tensor& positions, int64_t from_skip, const nn::TokenGrid& to, const Tensor& own,
                        PositionResize how = PositionResize::bicubic);

/// Swin's biases for another window: the offsets -w + 1 .. w - 1 of two axes are the pixels of an image, one a head.
/// @param table  [(2 w - 1)^2, heads]
/// @return       [side^2, heads], f32
/// @throws ShapeError unless the rows are those of a square
Tensor resize_bias_table(const Tensor& table, int64_t side, PositionResize how = PositionResize::bicubic);

}  // namespace vitrine::models
