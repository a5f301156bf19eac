; Computes a model for rows: this project's only machine code, compiled for the processor at hand when it is first used.
;
;   void forest(const model *m, const double *rows, int64 n, double *out)
;   void linear(const model *m, const double *rows, int64 n, double *out)
;
;   rows   double[n][features], n at least 1
;   out    double[n][classes]: `start` and
;          of a forest the values of the leaves, one a tree, that a row falls into, all divided by `divisor`;
;          of a linear model the sum over the columns of (value - mean) / scale * weight
;   input  how a feature becomes columns: a number goes to `column`, or its `fill` if it is missing (NaN); a category has
;          a `count` and sets one column to 1, `places[codes]` if it is missing, `places[codes + 1]` if it is none of
;          `count`, `places[codes + 2 + n]` if it is the n-th; no column where that is negative. Without inputs the
;          columns are the features.
;   node   a row goes on at `child` if its value in `column` is at most `cut`, else at `child` + 1; in a leaf `column`
;          is -1 and `child` says which of `leaves`, double[][classes], is its own
;
; Sums run in the order of the trees and are divided once, at the end, as scikit-learn's are: not a bit may differ.
; Of a model nothing is checked here: classifier.compiled has checked every index, and that children stand behind their
; parents, so that every walk ends. Rows may hold anything.

%input = type { double, i32, i32, i32 }
%node = type { double, i32, i32 }
%model = type { ptr, ptr, ptr, i64, i64, i64, ptr, ptr, i64, ptr, double, ptr, ptr, ptr }
;               nodes roots leaves trees classes features inputs places columns start divisor mean scale weights

declare i32 @llvm.fptosi.sat.i32.f64(double)

; The columns of the row at %x: that row, or what is made of it at %room.
define internal ptr @columns(ptr readonly %m, ptr readonly %x, ptr %room) {
entry:
  %inputs.at = getelementptr %model, ptr %m, i64 0, i32 6
  %inputs = load ptr, ptr %inputs.at
  %plain = icmp eq ptr %inputs, null
  br i1 %plain, label %as.they.are, label %prepare

as.they.are:
  ret ptr %x

prepare:
  %places.at = getelementptr %model, ptr %m, i64 0, i32 7
  %places = load ptr, ptr %places.at
  %columns.at = getelementptr %model, ptr %m, i64 0, i32 8
  %columns = load i64, ptr %columns.at
  %features.at = getelementptr %model, ptr %m, i64 0, i32 5
  %features = load i64, ptr %features.at
  br label %zero

zero:
  %z = phi i64 [ 0, %prepare ], [ %z.next, %zero ]
  %zero.at = getelementptr double, ptr %room, i64 %z
  store double 0.0, ptr %zero.at
  %z.next = add i64 %z, 1
  %z.more = icmp slt i64 %z.next, %columns
  br i1 %z.more, label %zero, label %feature

feature:
  %f = phi i64 [ 0, %zero ], [ %f.next, %feature.end ]
  %value.at = getelementptr double, ptr %x, i64 %f
  %value = load double, ptr %value.at
  %missing = fcmp uno double %value, %value
  %count.at = getelementptr %input, ptr %inputs, i64 %f, i32 3
  %count = load i32, ptr %count.at
  %is.number = icmp eq i32 %count, 0
  br i1 %is.number, label %number, label %category

number:
  %fill.at = getelementptr %input, ptr %inputs, i64 %f, i32 0
  %fill = load double, ptr %fill.at
  %filled = select i1 %missing, double %fill, double %value
  %column.at = getelementptr %input, ptr %inputs, i64 %f, i32 1
  %column = load i32, ptr %column.at
  br label %set

category:
  %codes.at = getelementptr %input, ptr %inputs, i64 %f, i32 2
  %codes = load i32, ptr %codes.at
  %code = call i32 @llvm.fptosi.sat.i32.f64(double %value)
  %known = icmp ult i32 %code, %count
  %code.place = add i32 %code, 2
  %present = select i1 %known, i32 %code.place, i32 1
  %which = select i1 %missing, i32 0, i32 %present
  %place = add i32 %codes, %which
  %place.wide = sext i32 %place to i64
  %category.at = getelementptr i32, ptr %places, i64 %place.wide
  %category.column = load i32, ptr %category.at
  %nowhere = icmp slt i32 %category.column, 0
  br i1 %nowhere, label %feature.end, label %set

set:
  %to = phi i32 [ %column, %number ], [ %category.column, %category ]
  %what = phi double [ %filled, %number ], [ 1.0, %category ]
  %to.wide = sext i32 %to to i64
  %to.at = getelementptr double, ptr %room, i64 %to.wide
  store double %what, ptr %to.at
  br label %feature.end

feature.end:
  %f.next = add i64 %f, 1
  %f.more = icmp slt i64 %f.next, %features
  br i1 %f.more, label %feature, label %made

made:
  ret ptr %room
}

; Rows through trees.
define void @forest(ptr noalias readonly %m, ptr noalias readonly %rows, i64 %n, ptr noalias %out) {
entry:
  %nodes = load ptr, ptr %m
  %roots.at = getelementptr %model, ptr %m, i64 0, i32 1
  %roots = load ptr, ptr %roots.at
  %leaves.at = getelementptr %model, ptr %m, i64 0, i32 2
  %leaves = load ptr, ptr %leaves.at
  %trees.at = getelementptr %model, ptr %m, i64 0, i32 3
  %trees = load i64, ptr %trees.at
  %classes.at = getelementptr %model, ptr %m, i64 0, i32 4
  %classes = load i64, ptr %classes.at
  %features.at = getelementptr %model, ptr %m, i64 0, i32 5
  %features = load i64, ptr %features.at
  %start.at = getelementptr %model, ptr %m, i64 0, i32 9
  %start = load ptr, ptr %start.at
  %divisor.at = getelementptr %model, ptr %m, i64 0, i32 10
  %divisor = load double, ptr %divisor.at
  %columns.at = getelementptr %model, ptr %m, i64 0, i32 8
  %columns = load i64, ptr %columns.at
  %room = alloca double, i64 %columns
  br label %row

row:
  %r = phi i64 [ 0, %entry ], [ %r.next, %row.end ]
  %x.start = mul i64 %r, %features
  %given = getelementptr double, ptr %rows, i64 %x.start
  %x = call ptr @columns(ptr %m, ptr %given, ptr %room)
  %sums.start = mul i64 %r, %classes
  %sums = getelementptr double, ptr %out, i64 %sums.start
  br label %begin

begin:
  %z = phi i64 [ 0, %row ], [ %z.next, %begin ]
  %first.at = getelementptr double, ptr %start, i64 %z
  %first = load double, ptr %first.at
  %begin.at = getelementptr double, ptr %sums, i64 %z
  store double %first, ptr %begin.at
  %z.next = add i64 %z, 1
  %z.more = icmp slt i64 %z.next, %classes
  br i1 %z.more, label %begin, label %tree

tree:
  %t = phi i64 [ 0, %begin ], [ %t.next, %tree.end ]
  %root.at = getelementptr i32, ptr %roots, i64 %t
  %root = load i32, ptr %root.at
  br label %node

node:
  %i = phi i32 [ %root, %tree ], [ %i.next, %step ]
  %i.wide = sext i32 %i to i64
  %node.column.at = getelementptr %node, ptr %nodes, i64 %i.wide, i32 1
  %node.column = load i32, ptr %node.column.at
  %child.at = getelementptr %node, ptr %nodes, i64 %i.wide, i32 2
  %child = load i32, ptr %child.at
  %in.leaf = icmp slt i32 %node.column, 0
  br i1 %in.leaf, label %leaf, label %step

step:
  %cut.at = getelementptr %node, ptr %nodes, i64 %i.wide
  %cut = load double, ptr %cut.at
  %node.column.wide = sext i32 %node.column to i64
  %value.at = getelementptr double, ptr %x, i64 %node.column.wide
  %value = load double, ptr %value.at
  %above = fcmp ogt double %value, %cut
  %aside = zext i1 %above to i32
  %i.next = add i32 %child, %aside
  br label %node

leaf:
  %child.wide = sext i32 %child to i64
  %shares.start = mul i64 %child.wide, %classes
  %shares = getelementptr double, ptr %leaves, i64 %shares.start
  br label %add

add:
  %k = phi i64 [ 0, %leaf ], [ %k.next, %add ]
  %share.at = getelementptr double, ptr %shares, i64 %k
  %share = load double, ptr %share.at
  %sum.at = getelementptr double, ptr %sums, i64 %k
  %sum = load double, ptr %sum.at
  %sum.next = fadd double %sum, %share
  store double %sum.next, ptr %sum.at
  %k.next = add i64 %k, 1
  %k.more = icmp slt i64 %k.next, %classes
  br i1 %k.more, label %add, label %tree.end

tree.end:
  %t.next = add i64 %t, 1
  %t.more = icmp slt i64 %t.next, %trees
  br i1 %t.more, label %tree, label %divide

divide:
  %d = phi i64 [ 0, %tree.end ], [ %d.next, %divide ]
  %total.at = getelementptr double, ptr %sums, i64 %d
  %total = load double, ptr %total.at
  %mean = fdiv double %total, %divisor
  store double %mean, ptr %total.at
  %d.next = add i64 %d, 1
  %d.more = icmp slt i64 %d.next, %classes
  br i1 %d.more, label %divide, label %row.end

row.end:
  %r.next = add i64 %r, 1
  %r.more = icmp slt i64 %r.next, %n
  br i1 %r.more, label %row, label %end

end:
  ret void
}

; Rows weighed.
define void @linear(ptr noalias readonly %m, ptr noalias readonly %rows, i64 %n, ptr noalias %out) {
entry:
  %classes.at = getelementptr %model, ptr %m, i64 0, i32 4
  %classes = load i64, ptr %classes.at
  %features.at = getelementptr %model, ptr %m, i64 0, i32 5
  %features = load i64, ptr %features.at
  %columns.at = getelementptr %model, ptr %m, i64 0, i32 8
  %columns = load i64, ptr %columns.at
  %start.at = getelementptr %model, ptr %m, i64 0, i32 9
  %start = load ptr, ptr %start.at
  %means.at = getelementptr %model, ptr %m, i64 0, i32 11
  %means = load ptr, ptr %means.at
  %scales.at = getelementptr %model, ptr %m, i64 0, i32 12
  %scales = load ptr, ptr %scales.at
  %weights.at = getelementptr %model, ptr %m, i64 0, i32 13
  %weights = load ptr, ptr %weights.at
  %room = alloca double, i64 %columns
  br label %row

row:
  %r = phi i64 [ 0, %entry ], [ %r.next, %row.end ]
  %x.start = mul i64 %r, %features
  %given = getelementptr double, ptr %rows, i64 %x.start
  %x = call ptr @columns(ptr %m, ptr %given, ptr %room)
  %sums.start = mul i64 %r, %classes
  %sums = getelementptr double, ptr %out, i64 %sums.start
  br label %begin

begin:
  %z = phi i64 [ 0, %row ], [ %z.next, %begin ]
  %first.at = getelementptr double, ptr %start, i64 %z
  %first = load double, ptr %first.at
  %begin.at = getelementptr double, ptr %sums, i64 %z
  store double %first, ptr %begin.at
  %z.next = add i64 %z, 1
  %z.more = icmp slt i64 %z.next, %classes
  br i1 %z.more, label %begin, label %column

column:
  %c = phi i64 [ 0, %begin ], [ %c.next, %column.end ]
  %value.at = getelementptr double, ptr %x, i64 %c
  %value = load double, ptr %value.at
  %mean.at = getelementptr double, ptr %means, i64 %c
  %mean = load double, ptr %mean.at
  %scale.at = getelementptr double, ptr %scales, i64 %c
  %scale = load double, ptr %scale.at
  %above = fsub double %value, %mean
  %scaled = fdiv double %above, %scale
  %weights.start = mul i64 %c, %classes
  %weights.own = getelementptr double, ptr %weights, i64 %weights.start
  br label %add

add:
  %k = phi i64 [ 0, %column ], [ %k.next, %add ]
  %weight.at = getelementptr double, ptr %weights.own, i64 %k
  %weight = load double, ptr %weight.at
  %share = fmul double %scaled, %weight
  %sum.at = getelementptr double, ptr %sums, i64 %k
  %sum = load double, ptr %sum.at
  %sum.next = fadd double %sum, %share
  store double %sum.next, ptr %sum.at
  %k.next = add i64 %k, 1
  %k.more = icmp slt i64 %k.next, %classes
  br i1 %k.more, label %add, label %column.end

column.end:
  %c.next = add i64 %c, 1
  %c.more = icmp slt i64 %c.next, %columns
  br i1 %c.more, label %column, label %row.end

row.end:
  %r.next = add i64 %r, 1
  %r.more = icmp slt i64 %r.next, %n
  br i1 %r.more, label %row, label %end

end:
  ret void
}
