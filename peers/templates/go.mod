module headcount/peers/templates

go 1.25
