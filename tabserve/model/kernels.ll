; Computes the outputs of a model for rows. llvmlite compiles this for the processor at hand when it is first used.
;
;   void forest(const model *m, const double *rows, int64 n, double *out)
;   void linear(const model *m, const double *rows, int64 n, double *out)
;   void forest_one(const model *m, const double *row, int64 one, double *out)
;   void linear_one(const model *m, const double *row, int64 one, double *out)
;
;   rows   double[n][features], n at least 1.
;   out    double[n][outputs]. Each row is `start` plus
;          for a forest: the values of the leaf that the row reaches in each tree, and the sum divided by `divisor`;
;          for a linear model: the sum over the columns of (value - mean) / scale * weight;
;          and then what `link` makes of it.
;          The functions for one row write double[outputs + 1]. The last number is 1 if a value of the row is below `lows`
;          or above `highs`, else 0.
;   input  Reads the feature `source`. A number (count -1) goes to `column`, or its `fill` if it is missing (NaN). Any other has
;          `count` categories, which may be 0, and takes an entry of a table: `codes` if it is missing, `codes + 1` if it is
;          unknown, `codes + 2 + n` if it is the n-th. If `column` is negative, the entry of `places` is the column that
;          becomes 1, none if it is negative; else the entry of `values` goes to `column`. Without inputs the features are
;          the columns.
;   node   A row continues at node `child` if its value in `column` is at most `cut`, else at `child` + 1. In a leaf `column`
;          is -1, and `child` is the row of `leaves`, double[][outputs], with its values.
;
; Eight trees are walked side by side, so that the processor loads eight nodes at once instead of waiting for each in turn.
; A walk that has reached its leaf stays there until all eight have.
;
; Sums run in the order of the trees and are divided once, at the end, as in scikit-learn: not a bit may differ.
; Nothing is checked here: tabserve.model.compiled has checked every index, and that children come after their parents, so
; that every walk ends. Rows may hold any values.

%input = type { double, i32, i32, i32, i32 }
;               fill source column codes count
%node = type { double, i32, i32 }
%model = type { ptr, ptr, ptr, i64, i64, i64, ptr, ptr, i64, ptr, double, ptr, ptr, ptr, ptr, ptr, ptr, i64, i64 }
;               nodes roots leaves trees outputs features inputs places columns start divisor mean scale weights lows highs
;               values input_count link

declare i32 @llvm.fptosi.sat.i32.f64(double)
declare i32 @llvm.smax.i32(i32, i32)

; The columns of the row at %x: the row itself, or the columns built from it at %room.
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
  %values.at = getelementptr %model, ptr %m, i64 0, i32 16
  %values = load ptr, ptr %values.at
  %count.at = getelementptr %model, ptr %m, i64 0, i32 17
  %inputs.count = load i64, ptr %count.at
  br label %zero

zero:
  %z = phi i64 [ 0, %prepare ], [ %z.next, %zero ]
  %zero.at = getelementptr double, ptr %room, i64 %z
  store double 0.0, ptr %zero.at
  %z.next = add i64 %z, 1
  %z.more = icmp slt i64 %z.next, %columns
  br i1 %z.more, label %zero, label %input

input:
  %i = phi i64 [ 0, %zero ], [ %i.next, %input.end ]
  %source.at = getelementptr %input, ptr %inputs, i64 %i, i32 1
  %source = load i32, ptr %source.at
  %source.wide = sext i32 %source to i64
  %value.at = getelementptr double, ptr %x, i64 %source.wide
  %value = load double, ptr %value.at
  %missing = fcmp uno double %value, %value
  %column.at = getelementptr %input, ptr %inputs, i64 %i, i32 2
  %column = load i32, ptr %column.at
  %categories.at = getelementptr %input, ptr %inputs, i64 %i, i32 4
  %categories = load i32, ptr %categories.at
  %is.number = icmp slt i32 %categories, 0
  br i1 %is.number, label %number, label %category

number:
  %fill.at = getelementptr %input, ptr %inputs, i64 %i
  %fill = load double, ptr %fill.at
  %filled = select i1 %missing, double %fill, double %value
  br label %set

category:
  %codes.at = getelementptr %input, ptr %inputs, i64 %i, i32 3
  %codes = load i32, ptr %codes.at
  %code = call i32 @llvm.fptosi.sat.i32.f64(double %value)
  %known = icmp ult i32 %code, %categories
  %code.entry = add i32 %code, 2
  %present = select i1 %known, i32 %code.entry, i32 1
  %which = select i1 %missing, i32 0, i32 %present
  %entry.number = add i32 %codes, %which
  %entry.wide = sext i32 %entry.number to i64
  %sets.place = icmp slt i32 %column, 0
  br i1 %sets.place, label %place, label %look.up

place:
  %place.at = getelementptr i32, ptr %places, i64 %entry.wide
  %place.column = load i32, ptr %place.at
  %nowhere = icmp slt i32 %place.column, 0
  br i1 %nowhere, label %input.end, label %set

look.up:
  %found.at = getelementptr double, ptr %values, i64 %entry.wide
  %found = load double, ptr %found.at
  br label %set

set:
  %to = phi i32 [ %column, %number ], [ %place.column, %place ], [ %column, %look.up ]
  %what = phi double [ %filled, %number ], [ 1.0, %place ], [ %found, %look.up ]
  %to.wide = sext i32 %to to i64
  %to.at = getelementptr double, ptr %room, i64 %to.wide
  store double %what, ptr %to.at
  br label %input.end

input.end:
  %i.next = add i64 %i, 1
  %i.more = icmp slt i64 %i.next, %inputs.count
  br i1 %i.more, label %input, label %made

made:
  ret ptr %room
}

; The node that follows node %i for a row; %i itself if it is a leaf.
define internal i32 @next(ptr readonly %nodes, ptr readonly %x, i32 %i) alwaysinline {
  %i.wide = zext i32 %i to i64
  %column.at = getelementptr %node, ptr %nodes, i64 %i.wide, i32 1
  %column = load i32, ptr %column.at
  %child.at = getelementptr %node, ptr %nodes, i64 %i.wide, i32 2
  %child = load i32, ptr %child.at
  %cut.at = getelementptr %node, ptr %nodes, i64 %i.wide
  %cut = load double, ptr %cut.at
  %leaf = icmp slt i32 %column, 0
  %any = call i32 @llvm.smax.i32(i32 %column, i32 0)
  %any.wide = zext i32 %any to i64
  %value.at = getelementptr double, ptr %x, i64 %any.wide
  %value = load double, ptr %value.at
  %above = fcmp ogt double %value, %cut
  %aside = zext i1 %above to i32
  %on = add i32 %child, %aside
  %next = select i1 %leaf, i32 %i, i32 %on
  ret i32 %next
}

; Adds the values of the leaf at node %i to %sums.
define internal void @add(ptr readonly %nodes, ptr readonly %leaves, i64 %outputs, i32 %i, ptr %sums) alwaysinline {
entry:
  %i.wide = zext i32 %i to i64
  %leaf.at = getelementptr %node, ptr %nodes, i64 %i.wide, i32 2
  %leaf = load i32, ptr %leaf.at
  %leaf.wide = zext i32 %leaf to i64
  %leaf.values.start = mul i64 %leaf.wide, %outputs
  %leaf.values = getelementptr double, ptr %leaves, i64 %leaf.values.start
  br label %output

output:
  %k = phi i64 [ 0, %entry ], [ %k.next, %output ]
  %leaf.value.at = getelementptr double, ptr %leaf.values, i64 %k
  %leaf.value = load double, ptr %leaf.value.at
  %sum.at = getelementptr double, ptr %sums, i64 %k
  %sum = load double, ptr %sum.at
  %sum.next = fadd double %sum, %leaf.value
  store double %sum.next, ptr %sum.at
  %k.next = add i64 %k, 1
  %k.more = icmp slt i64 %k.next, %outputs
  br i1 %k.more, label %output, label %end

end:
  ret void
}

; e to the power of %x, which is at most 700; 0 if it is below -708. Not more than the last bit is wrong, and all machines give the
; same bits. %x is k ln 2 + r with |r| < 0.35, so the power is 2^k (1 + r + r²/2! + … + r^13/13!).
define internal double @exp(double %x) {
  %in.twos = fmul double %x, 0x3FF71547652B82FE
  %shifted = fadd double %in.twos, 0x4338000000000000
  %k = fsub double %shifted, 0x4338000000000000
  %k.high = fmul double %k, 0x3FE62E42FEE00000
  %r.high = fsub double %x, %k.high
  %k.low = fmul double %k, 0x3DEA39EF35793C76
  %r = fsub double %r.high, %k.low
  %t12 = fmul double %r, 0x3DE6124613A86D09
  %q12 = fadd double %t12, 0x3E21EED8EFF8D898
  %t11 = fmul double %r, %q12
  %q11 = fadd double %t11, 0x3E5AE64567F544E4
  %t10 = fmul double %r, %q11
  %q10 = fadd double %t10, 0x3E927E4FB7789F5C
  %t9 = fmul double %r, %q10
  %q9 = fadd double %t9, 0x3EC71DE3A556C734
  %t8 = fmul double %r, %q9
  %q8 = fadd double %t8, 0x3EFA01A01A01A01A
  %t7 = fmul double %r, %q8
  %q7 = fadd double %t7, 0x3F2A01A01A01A01A
  %t6 = fmul double %r, %q7
  %q6 = fadd double %t6, 0x3F56C16C16C16C17
  %t5 = fmul double %r, %q6
  %q5 = fadd double %t5, 0x3F81111111111111
  %t4 = fmul double %r, %q5
  %q4 = fadd double %t4, 0x3FA5555555555555
  %t3 = fmul double %r, %q4
  %q3 = fadd double %t3, 0x3FC5555555555555
  %t2 = fmul double %r, %q3
  %q2 = fadd double %t2, 0x3FE0000000000000
  %square = fmul double %r, %r
  %rest = fmul double %square, %q2
  %more = fadd double %r, %rest
  %power = fadd double %more, 1.0
  %k.short = call i32 @llvm.fptosi.sat.i32.f64(double %k)
  %k.whole = sext i32 %k.short to i64
  %exponent = add i64 %k.whole, 1023
  %bits = shl i64 %exponent, 52
  %two.to.k = bitcast i64 %bits to double
  %product = fmul double %power, %two.to.k
  %vanishes = fcmp olt double %x, -708.0
  %result = select i1 %vanishes, double 0.0, double %product
  ret double %result
}

; Turns the sums of a row into outputs: `link` 0 leaves them, 1 takes the softmax, 2 the exponential. Larger exponents than 700
; count as 700, so that no output overflows: a target is at most 1e30, whose logarithm is 69.
define internal void @link(ptr readonly %m, ptr %sums) {
entry:
  %outputs.at = getelementptr %model, ptr %m, i64 0, i32 4
  %outputs = load i64, ptr %outputs.at
  %link.at = getelementptr %model, ptr %m, i64 0, i32 18
  %link = load i64, ptr %link.at
  switch i64 %link, label %end [
    i64 1, label %largest
    i64 2, label %exponential
  ]

exponential:
  %e = phi i64 [ 0, %entry ], [ %e.next, %exponential ]
  %exponent.at = getelementptr double, ptr %sums, i64 %e
  %exponent = load double, ptr %exponent.at
  %overflows = fcmp ogt double %exponent, 700.0
  %bounded = select i1 %overflows, double 700.0, double %exponent
  %result = call double @exp(double %bounded)
  store double %result, ptr %exponent.at
  %e.next = add i64 %e, 1
  %e.more = icmp slt i64 %e.next, %outputs
  br i1 %e.more, label %exponential, label %end

largest:
  %l = phi i64 [ 0, %entry ], [ %l.next, %largest ]
  %most = phi double [ 0xFFF0000000000000, %entry ], [ %most.next, %largest ]
  %sum.at = getelementptr double, ptr %sums, i64 %l
  %sum = load double, ptr %sum.at
  %larger = fcmp ogt double %sum, %most
  %most.next = select i1 %larger, double %sum, double %most
  %l.next = add i64 %l, 1
  %l.more = icmp slt i64 %l.next, %outputs
  br i1 %l.more, label %largest, label %powers

powers:
  %p = phi i64 [ 0, %largest ], [ %p.next, %powers ]
  %total = phi double [ 0.0, %largest ], [ %total.next, %powers ]
  %own.at = getelementptr double, ptr %sums, i64 %p
  %own = load double, ptr %own.at
  %below = fsub double %own, %most.next
  %power = call double @exp(double %below)
  store double %power, ptr %own.at
  %total.next = fadd double %total, %power
  %p.next = add i64 %p, 1
  %p.more = icmp slt i64 %p.next, %outputs
  br i1 %p.more, label %powers, label %shares

shares:
  %s = phi i64 [ 0, %powers ], [ %s.next, %shares ]
  %share.at = getelementptr double, ptr %sums, i64 %s
  %share = load double, ptr %share.at
  %output = fdiv double %share, %total.next
  store double %output, ptr %share.at
  %s.next = add i64 %s, 1
  %s.more = icmp slt i64 %s.next, %outputs
  br i1 %s.more, label %shares, label %end

end:
  ret void
}

; Walks rows through the trees of a forest.
define void @forest(ptr noalias readonly %m, ptr noalias readonly %rows, i64 %n, ptr noalias %out) {
entry:
  %nodes = load ptr, ptr %m
  %roots.at = getelementptr %model, ptr %m, i64 0, i32 1
  %roots = load ptr, ptr %roots.at
  %leaves.at = getelementptr %model, ptr %m, i64 0, i32 2
  %leaves = load ptr, ptr %leaves.at
  %trees.at = getelementptr %model, ptr %m, i64 0, i32 3
  %trees = load i64, ptr %trees.at
  %outputs.at = getelementptr %model, ptr %m, i64 0, i32 4
  %outputs = load i64, ptr %outputs.at
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
  %sums.start = mul i64 %r, %outputs
  %sums = getelementptr double, ptr %out, i64 %sums.start
  br label %begin

begin:
  %z = phi i64 [ 0, %row ], [ %z.next, %begin ]
  %first.at = getelementptr double, ptr %start, i64 %z
  %first = load double, ptr %first.at
  %begin.at = getelementptr double, ptr %sums, i64 %z
  store double %first, ptr %begin.at
  %z.next = add i64 %z, 1
  %z.more = icmp slt i64 %z.next, %outputs
  br i1 %z.more, label %begin, label %trees.left

trees.left:
  %t = phi i64 [ 0, %begin ], [ %t.several, %add.several ], [ %t.one, %add.one ]
  %left = sub i64 %trees, %t
  %are.several = icmp sge i64 %left, 8
  br i1 %are.several, label %several, label %fewer

several:
  %A.tree = add i64 %t, 0
  %A.root.at = getelementptr i32, ptr %roots, i64 %A.tree
  %A.root = load i32, ptr %A.root.at
  %B.tree = add i64 %t, 1
  %B.root.at = getelementptr i32, ptr %roots, i64 %B.tree
  %B.root = load i32, ptr %B.root.at
  %C.tree = add i64 %t, 2
  %C.root.at = getelementptr i32, ptr %roots, i64 %C.tree
  %C.root = load i32, ptr %C.root.at
  %D.tree = add i64 %t, 3
  %D.root.at = getelementptr i32, ptr %roots, i64 %D.tree
  %D.root = load i32, ptr %D.root.at
  %E.tree = add i64 %t, 4
  %E.root.at = getelementptr i32, ptr %roots, i64 %E.tree
  %E.root = load i32, ptr %E.root.at
  %F.tree = add i64 %t, 5
  %F.root.at = getelementptr i32, ptr %roots, i64 %F.tree
  %F.root = load i32, ptr %F.root.at
  %G.tree = add i64 %t, 6
  %G.root.at = getelementptr i32, ptr %roots, i64 %G.tree
  %G.root = load i32, ptr %G.root.at
  %H.tree = add i64 %t, 7
  %H.root.at = getelementptr i32, ptr %roots, i64 %H.tree
  %H.root = load i32, ptr %H.root.at
  br label %walk.several

walk.several:
  %A = phi i32 [ %A.root, %several ], [ %A.next, %walk.several ]
  %B = phi i32 [ %B.root, %several ], [ %B.next, %walk.several ]
  %C = phi i32 [ %C.root, %several ], [ %C.next, %walk.several ]
  %D = phi i32 [ %D.root, %several ], [ %D.next, %walk.several ]
  %E = phi i32 [ %E.root, %several ], [ %E.next, %walk.several ]
  %F = phi i32 [ %F.root, %several ], [ %F.next, %walk.several ]
  %G = phi i32 [ %G.root, %several ], [ %G.next, %walk.several ]
  %H = phi i32 [ %H.root, %several ], [ %H.next, %walk.several ]
  %A.next = call i32 @next(ptr %nodes, ptr %x, i32 %A)
  %B.next = call i32 @next(ptr %nodes, ptr %x, i32 %B)
  %C.next = call i32 @next(ptr %nodes, ptr %x, i32 %C)
  %D.next = call i32 @next(ptr %nodes, ptr %x, i32 %D)
  %E.next = call i32 @next(ptr %nodes, ptr %x, i32 %E)
  %F.next = call i32 @next(ptr %nodes, ptr %x, i32 %F)
  %G.next = call i32 @next(ptr %nodes, ptr %x, i32 %G)
  %H.next = call i32 @next(ptr %nodes, ptr %x, i32 %H)
  %A.way = xor i32 %A, %A.next
  %B.way = xor i32 %B, %B.next
  %C.way = xor i32 %C, %C.next
  %D.way = xor i32 %D, %D.next
  %E.way = xor i32 %E, %E.next
  %F.way = xor i32 %F, %F.next
  %G.way = xor i32 %G, %G.next
  %H.way = xor i32 %H, %H.next
  %B.ways = or i32 %A.way, %B.way
  %C.ways = or i32 %B.ways, %C.way
  %D.ways = or i32 %C.ways, %D.way
  %E.ways = or i32 %D.ways, %E.way
  %F.ways = or i32 %E.ways, %F.way
  %G.ways = or i32 %F.ways, %G.way
  %H.ways = or i32 %G.ways, %H.way
  %go.on = icmp ne i32 %H.ways, 0
  br i1 %go.on, label %walk.several, label %add.several

add.several:
  call void @add(ptr %nodes, ptr %leaves, i64 %outputs, i32 %A, ptr %sums)
  call void @add(ptr %nodes, ptr %leaves, i64 %outputs, i32 %B, ptr %sums)
  call void @add(ptr %nodes, ptr %leaves, i64 %outputs, i32 %C, ptr %sums)
  call void @add(ptr %nodes, ptr %leaves, i64 %outputs, i32 %D, ptr %sums)
  call void @add(ptr %nodes, ptr %leaves, i64 %outputs, i32 %E, ptr %sums)
  call void @add(ptr %nodes, ptr %leaves, i64 %outputs, i32 %F, ptr %sums)
  call void @add(ptr %nodes, ptr %leaves, i64 %outputs, i32 %G, ptr %sums)
  call void @add(ptr %nodes, ptr %leaves, i64 %outputs, i32 %H, ptr %sums)
  %t.several = add i64 %t, 8
  br label %trees.left

fewer:
  %is.one = icmp sgt i64 %left, 0
  br i1 %is.one, label %one, label %divide

one:
  %root.at = getelementptr i32, ptr %roots, i64 %t
  %root = load i32, ptr %root.at
  br label %walk.one

walk.one:
  %i = phi i32 [ %root, %one ], [ %i.next, %walk.one ]
  %i.next = call i32 @next(ptr %nodes, ptr %x, i32 %i)
  %i.moved = icmp ne i32 %i, %i.next
  br i1 %i.moved, label %walk.one, label %add.one

add.one:
  call void @add(ptr %nodes, ptr %leaves, i64 %outputs, i32 %i, ptr %sums)
  %t.one = add i64 %t, 1
  br label %trees.left

divide:
  %d = phi i64 [ 0, %fewer ], [ %d.next, %divide ]
  %total.at = getelementptr double, ptr %sums, i64 %d
  %total = load double, ptr %total.at
  %mean = fdiv double %total, %divisor
  store double %mean, ptr %total.at
  %d.next = add i64 %d, 1
  %d.more = icmp slt i64 %d.next, %outputs
  br i1 %d.more, label %divide, label %row.end

row.end:
  call void @link(ptr %m, ptr %sums)
  %r.next = add i64 %r, 1
  %r.more = icmp slt i64 %r.next, %n
  br i1 %r.more, label %row, label %end

end:
  ret void
}

; Computes the weighted sums of a linear model.
define void @linear(ptr noalias readonly %m, ptr noalias readonly %rows, i64 %n, ptr noalias %out) {
entry:
  %outputs.at = getelementptr %model, ptr %m, i64 0, i32 4
  %outputs = load i64, ptr %outputs.at
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
  %sums.start = mul i64 %r, %outputs
  %sums = getelementptr double, ptr %out, i64 %sums.start
  br label %begin

begin:
  %z = phi i64 [ 0, %row ], [ %z.next, %begin ]
  %first.at = getelementptr double, ptr %start, i64 %z
  %first = load double, ptr %first.at
  %begin.at = getelementptr double, ptr %sums, i64 %z
  store double %first, ptr %begin.at
  %z.next = add i64 %z, 1
  %z.more = icmp slt i64 %z.next, %outputs
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
  %weights.start = mul i64 %c, %outputs
  %weights.own = getelementptr double, ptr %weights, i64 %weights.start
  br label %add

add:
  %k = phi i64 [ 0, %column ], [ %k.next, %add ]
  %weight.at = getelementptr double, ptr %weights.own, i64 %k
  %weight = load double, ptr %weight.at
  %leaf.value = fmul double %scaled, %weight
  %sum.at = getelementptr double, ptr %sums, i64 %k
  %sum = load double, ptr %sum.at
  %sum.next = fadd double %sum, %leaf.value
  store double %sum.next, ptr %sum.at
  %k.next = add i64 %k, 1
  %k.more = icmp slt i64 %k.next, %outputs
  br i1 %k.more, label %add, label %column.end

column.end:
  %c.next = add i64 %c, 1
  %c.more = icmp slt i64 %c.next, %columns
  br i1 %c.more, label %column, label %row.end

row.end:
  call void @link(ptr %m, ptr %sums)
  %r.next = add i64 %r, 1
  %r.more = icmp slt i64 %r.next, %n
  br i1 %r.more, label %row, label %end

end:
  ret void
}

; Stores behind the outputs at %out whether a value of the row at %x lies outside its training range. A missing value doesn't.
define internal void @look(ptr readonly %m, ptr readonly %x, ptr %out) {
entry:
  %outputs.at = getelementptr %model, ptr %m, i64 0, i32 4
  %outputs = load i64, ptr %outputs.at
  %features.at = getelementptr %model, ptr %m, i64 0, i32 5
  %features = load i64, ptr %features.at
  %lows.at = getelementptr %model, ptr %m, i64 0, i32 14
  %lows = load ptr, ptr %lows.at
  %highs.at = getelementptr %model, ptr %m, i64 0, i32 15
  %highs = load ptr, ptr %highs.at
  br label %feature

feature:
  %f = phi i64 [ 0, %entry ], [ %f.next, %feature ]
  %outside = phi i1 [ false, %entry ], [ %outside.next, %feature ]
  %value.at = getelementptr double, ptr %x, i64 %f
  %value = load double, ptr %value.at
  %low.at = getelementptr double, ptr %lows, i64 %f
  %low = load double, ptr %low.at
  %high.at = getelementptr double, ptr %highs, i64 %f
  %high = load double, ptr %high.at
  %below = fcmp olt double %value, %low
  %above = fcmp ogt double %value, %high
  %either = or i1 %below, %above
  %outside.next = or i1 %outside, %either
  %f.next = add i64 %f, 1
  %f.more = icmp slt i64 %f.next, %features
  br i1 %f.more, label %feature, label %end

end:
  %said = uitofp i1 %outside.next to double
  %said.at = getelementptr double, ptr %out, i64 %outputs
  store double %said, ptr %said.at
  ret void
}

define void @forest_one(ptr noalias readonly %m, ptr noalias readonly %row, i64 %n, ptr noalias %out) {
  call void @forest(ptr %m, ptr %row, i64 1, ptr %out)
  call void @look(ptr %m, ptr %row, ptr %out)
  ret void
}

define void @linear_one(ptr noalias readonly %m, ptr noalias readonly %row, i64 %n, ptr noalias %out) {
  call void @linear(ptr %m, ptr %row, i64 1, ptr %out)
  call void @look(ptr %m, ptr %row, ptr %out)
  ret void
}
